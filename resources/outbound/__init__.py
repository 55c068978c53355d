"""What goes to servers that others name, pictures by URL and callbacks, all through one hardened client."""

from typing import TYPE_CHECKING

from configs.settings import Settings
from resources.outbound.deadline import Deadline
from resources.outbound.errors import (
    DeliveryRefusedError,
    NotWantedError,
    OutboundError,
    TransferError,
    UrlRefusedError,
)

if TYPE_CHECKING:
    from resources.outbound.client import OutboundClient

__all__ = [
    "Deadline",
    "DeliveryRefusedError",
    "NotWantedError",
    "OutboundError",
    "TransferError",
    "UrlRefusedError",
    "open_outbound",
]


def open_outbound(settings: Settings) -> "OutboundClient":
    """The client of this process; safe to use from many threads. Reaches nothing yet."""
    from resources.outbound.client import OutboundClient  # httpx takes a fifth of a second to import

    return OutboundClient(settings)

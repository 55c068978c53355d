"""Errors of requests to servers that others name. Their texts name scheme, host and port of a URL, never the rest.

What follows the host may be secret (a presigned URL), and what the host answered may not be meant for who named it.
"""

from foundation.errors import FailureCause, ImageGenXError


class OutboundError(ImageGenXError):
    """Root: a URL is refused, or what it names cannot be fetched or delivered to."""

    cause = FailureCause.INPUT_PICTURE


class UrlRefusedError(OutboundError):
    """The URL breaks a rule; it is refused every time."""


class TransferError(OutboundError):
    """The server cannot be reached, is too slow, sends too much or something else; it may do better later."""


class NotWantedError(OutboundError):
    """Nobody waits for it any more: the transfer was ended."""


class DeliveryRefusedError(TransferError):
    """A callback's receiver answered, but not with success.

    Args:
        origin: scheme, host and port of the receiver.
        status: its HTTP status.
        retry_after_s: how long it asked us to wait.
    """

    def __init__(self, origin: str, status: int, retry_after_s: float | None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(f"{origin} answered HTTP {status}; a receiver accepts a callback with 200 to 299.")

"""Callbacks in the form of the Standard Webhooks specification (https://www.standardwebhooks.com)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook


def body_of(payload: Mapping[str, object]) -> bytes:
    """The payload as JSON, in the bytes that are signed and sent."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def signed_headers(event_id: str, body: bytes, secret: str) -> dict[str, str]:
    """The headers that let a receiver check where `body` comes from, that it is fresh, and whether it came before.

    Args:
        event_id: the same for every delivery of one event.
        secret: `whsec_…`, shared with the receiver.
    """
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body.decode()),
    }

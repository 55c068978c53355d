"""Errors of the request queue and of the Redis it lives in."""

from configs.errors import ImageGenXError


class QueueError(ImageGenXError):
    """Root of the request queue's errors."""


class QueueFullError(QueueError):
    """As many requests wait as may; try again after `retry_after_s`."""

    def __init__(self, max_waiting: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{max_waiting:,} requests wait already, no more fit. Try again in {retry_after_s} s.")


class ConflictError(QueueError):
    """A task id or an idempotency key was used before, for other content."""


class QueueUnavailableError(QueueError):
    """Redis cannot be reached or cannot work now; the same call may succeed later."""


class QueueAccessError(QueueUnavailableError):
    """Redis refuses, or is configured wrongly; the same call fails until a person changes that."""

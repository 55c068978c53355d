"""Errors of the request queue and of the Redis it lives in."""

from foundation.errors import ImageGenXError
from resources.queue.trouble import UNREACHABLE, Trouble


class QueueError(ImageGenXError):
    """Root of the request queue's errors."""


class QueueFullError(QueueError):
    """As many requests wait as may, or nearly and many of them are the caller's; try again after `retry_after_s`."""

    def __init__(self, max_waiting: int, retry_after_s: int, *, crowded: bool = False) -> None:
        self.retry_after_s = retry_after_s
        full = f"{max_waiting:,} requests wait already, no more fit."
        crowd = f"Nearly {max_waiting:,} requests wait already; the places left are for users who have fewer of them."
        super().__init__(f"{crowd if crowded else full} Try again in {retry_after_s} s.")


class OwnerLimitError(QueueError):
    """A user has as much in Redis, or has uploaded as much, as one may; there is room after `retry_after_s`."""

    def __init__(self, what: str, setting: str, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(
            f"{what}, which is the most for one user. The oldest are forgotten in {retry_after_s:,} s; until then send"
            f" less, or ask the operator to raise queue.{setting}."
        )


class BudgetError(QueueError):
    """An owner would go beyond the spending limit of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"That would go beyond the limit {name}.")


class ConflictError(QueueError):
    """A task id or an idempotency key was used before, for other content."""


class QueueUnavailableError(QueueError):
    """Redis cannot be reached or cannot work now, `trouble` says why; the same call may succeed later."""

    def __init__(self, text: str, trouble: Trouble = UNREACHABLE) -> None:
        self.trouble = trouble
        super().__init__(text)


class QueueAccessError(QueueUnavailableError):
    """Redis refuses, or is configured wrongly; the same call fails until a person changes that."""

"""Why there is no picture."""

from dataclasses import dataclass

from foundation.error_text import error_text
from foundation.errors import FailureCause, ImageGenXError
from ops.moderation import PictureRejectedError


@dataclass(frozen=True)
class Failure:
    """What a picture failed of; `rejected` by a moderator's verdict."""

    error: str
    cause: FailureCause = FailureCause.OTHER
    rejected: bool = False

    @classmethod
    def of(cls, error: ImageGenXError) -> "Failure":
        """As an error tells it."""
        text = error_text(str(error)) or type(error).__name__
        return cls(text, error.cause, isinstance(error, PictureRejectedError))

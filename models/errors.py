"""Errors of requests, models and pictures."""

from collections.abc import Iterable

from foundation.errors import FailureCause, ImageGenXError, ProblemsError
from foundation.problems import nearest


class InvalidRequestError(ProblemsError):
    """A request or recipe breaks rules."""

    cause = FailureCause.REQUEST


class RejectedError(InvalidRequestError):
    """A request has words that the operator allows in none."""

    cause = FailureCause.MODERATION


class ModelError(ImageGenXError):
    """A model cannot do what was asked of it."""

    cause = FailureCause.MODEL


class ModelNotFoundError(ModelError):
    """No model card has this name, or the one that has it is wrong, for this reason."""

    def __init__(self, name: str, known: Iterable[str], reason: str = "") -> None:
        names = sorted(known)
        if reason:
            super().__init__(f"model '{name[:80]}' cannot be used: its card is wrong. {reason}")
            return
        super().__init__(f"no model '{name[:80]}'.{nearest(name, names)} Known models: {', '.join(names)}.")


class ModelLoadError(ModelError):
    """A model's files are missing, damaged or do not fit its card."""


class AcceleratorError(ModelError):
    """The accelerator or device asked for is not available here."""


class OutOfMemoryError(ModelError):
    """The device has not the memory for a picture, not even alone, or for a model."""

    cause = FailureCause.OUT_OF_MEMORY


class PictureError(ImageGenXError):
    """A picture given as input cannot be decoded, or is too large."""

    cause = FailureCause.INPUT_PICTURE

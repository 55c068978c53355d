"""The root of every error ImageGenX raises on purpose, and the errors of its configuration."""

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar

from foundation.error_text import cause_text, error_lines, error_text
from foundation.problems import Problem


class FailureCause(StrEnum):
    """What made a request fail, for counting: stored with the failed task and named in the metrics."""

    REQUEST = "request"
    INPUT_PICTURE = "input_picture"
    MODEL = "model"
    OUT_OF_MEMORY = "out_of_memory"
    ENGINE = "engine"
    WATERMARK = "watermark"
    MODERATION = "moderation"
    STORE = "store"
    WORKER_LOST = "worker_lost"
    BUDGET = "budget"
    OTHER = "other"


class ImageGenXError(Exception):
    """Root of all errors whose text is meant for the person using ImageGenX.

    Its text is short and clean, whatever it was made from; see `error_text`.

    Attributes:
        cause: what a request has failed of that such an error ends; every domain names its own.
        lists: the text is a list of problems, one a line, each as short as another error's whole text.
    """

    cause: ClassVar[FailureCause] = FailureCause.OTHER
    lists: ClassVar[bool] = False

    def __str__(self) -> str:
        """The text, in which nothing from outside moves a terminal."""
        text = super().__str__()
        return error_lines(text) if self.lists else error_text(text)


class ProblemsError(ImageGenXError):
    """Rules are broken; `problems` and the text list every one of them, one per line."""

    lists = True

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(ProblemsError):
    """The configuration is wrong."""


def told(exc: BaseException) -> str:
    """What to tell of an error inside of another text: all of our own; of a library's, what `cause_text` keeps."""
    return str(exc) if isinstance(exc, ImageGenXError) else cause_text(exc)

"""The root of every error ImageGenX raises on purpose, and the errors of its configuration."""

from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar

from configs.outside_text import printable
from configs.problems import Problem


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
    OTHER = "other"


class ImageGenXError(Exception):
    """Root of all errors whose text is meant for the person using ImageGenX.

    `cause` is what a request has failed of that such an error ends; every domain names its own.
    """

    cause: ClassVar[FailureCause] = FailureCause.OTHER

    def __str__(self) -> str:
        """The text, in which nothing from outside moves a terminal."""
        return printable(super().__str__())


class ConfigError(ImageGenXError):
    """The configuration is wrong; `problems` and the text list everything that is, one per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

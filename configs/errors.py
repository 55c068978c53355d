"""The root of every error ImageGenX raises on purpose, and the errors of its configuration."""

from collections.abc import Iterable

from configs.problems import Problem


class ImageGenXError(Exception):
    """Root of all errors whose text is meant for the person using ImageGenX."""


class ConfigError(ImageGenXError):
    """The configuration is wrong; `problems` and the text list everything that is, one per line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

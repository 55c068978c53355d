"""What a check found."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One row that is wrong; `blocks` says that it must not flow on to the next asset."""

    row_id: str
    what: str
    blocks: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Attributes:
        checked: rows or pictures it looked at.
        problems: what is wrong, in the order of the catalog.
        remedy: what to do about it.
    """

    checked: int
    problems: Sequence[Problem] = ()
    remedy: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def blocks(self) -> bool:
        """Whether the catalog must go no further."""
        return any(problem.blocks for problem in self.problems)

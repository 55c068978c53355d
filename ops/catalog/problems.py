"""What is wrong with a catalog, told by place, column and rule."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from foundation.error_text import MAX_CHARS, shortened
from foundation.errors import ImageGenXError
from foundation.outside_text import one_line

MAX_PROBLEMS = 1_000
"""More problems than these are counted, not kept."""


@dataclass(frozen=True)
class CatalogProblem:
    """One broken rule; `row` is the place in the file (`line 5`, `row 3 (line 12)`), empty for the whole file."""

    row: str
    column: str
    rule: str

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.row, self.column) if part)
        return shortened(one_line(f"{place}: {self.rule}" if place else self.rule), MAX_CHARS)


class CatalogError(ImageGenXError):
    """A catalog breaks rules; `problems` (the first thousand) and the text list them, one per line.

    `total` counts all of them. One rule that the file as a whole breaks may be given as it is.
    """

    lists = True

    def __init__(self, name: str, problems: Iterable[CatalogProblem] | str, total: int | None = None) -> None:
        self.name = name
        self.problems = (CatalogProblem("", "", problems),) if isinstance(problems, str) else tuple(problems)
        self.total = len(self.problems) if total is None else total
        noun = "problem" if self.total == 1 else "problems"
        lines = [f"catalog '{name}': {self.total:,} {noun}", *(f"  {problem}" for problem in self.problems)]
        if self.total > len(self.problems):
            lines.append(f"  … and {self.total - len(self.problems):,} more")
        super().__init__("\n".join(lines))

    def first(self, count: int) -> "CatalogError":
        """The same error with only its first problems, and how many more there are."""
        return type(self)(self.name, self.problems[:count], self.total)


class CatalogHeldUpError(CatalogError):
    """What is in the way is around a catalog's file, not in it: the same content may be taken later."""


class SourceGoneError(ImageGenXError):
    """A source of catalogs is away: a share that is not mounted, rather than one whose files were all removed."""

    def __init__(self, source: str, catalogs: int) -> None:
        known = "1 known catalog" if catalogs == 1 else f"{catalogs:,} known catalogs"
        advice = f"Bring it back, or make it again, empty, if its {known} shall go."
        super().__init__(f"{source} is not there; nothing is retired. {advice}")


@dataclass
class ProblemList:
    """The problems found so far; equal ones count once, so that a shared default is blamed once.

    `waits`: a file is missing that may still come, so that the same content may be right later.
    """

    kept: dict[CatalogProblem, None] = field(default_factory=dict)
    total: int = 0
    waits: bool = False
    _unknown: set[str] = field(default_factory=set)

    def add_unknown(self, row: str, column: str, rule: str) -> None:
        """Note an unknown name where it is met first; the rows below usually repeat it."""
        if column not in self._unknown:
            self._unknown.add(column)
            self.add(row, column, rule)

    def add(self, row: str, column: str, rule: str) -> None:
        """Note one problem."""
        problem = CatalogProblem(row, column, rule)
        if problem in self.kept:
            return
        self.total += 1
        if self.total <= MAX_PROBLEMS:
            self.kept[problem] = None

    def raise_any(self, name: str) -> None:
        """Raise CatalogError if anything was noted, CatalogHeldUpError if a file is waited for."""
        if self.total:
            raise (CatalogHeldUpError if self.waits else CatalogError)(name, self.kept, self.total)

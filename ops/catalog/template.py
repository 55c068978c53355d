"""Catalog templates: one pattern and its axes become a row for every combination."""

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from foundation.problems import nearest
from ops.catalog.columns import COLUMNS
from ops.catalog.problems import ProblemList
from ops.catalog.rows import RawRow

MAX_ROWS = 200_000
MAX_CHARACTERS = 256 * 2**20

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LONGEST_PART = 40


@dataclass(frozen=True)
class Template:
    """`patterns` by column, with `{axis}` in the places to fill (`{{` and `}}` are braces); `axes` by name.

    An axis named like a column sets that column; every other axis must fill a place.
    """

    patterns: Mapping[str, str]
    axes: Mapping[str, list[str]]

    @property
    def count(self) -> int:
        """The number of rows this comes to."""
        return math.prod(len(values) for values in self.axes.values())

    def rows(self) -> Iterator[RawRow]:
        """A row for every combination, the last axis changing fastest."""
        origins = {name: "template" for name, pattern in self.patterns.items() if not places(pattern)}
        origins |= {name: "axes" for name in self.axes if name in COLUMNS}
        for values in itertools.product(*self.axes.values()):
            yield self._row(dict(zip(self.axes, values, strict=True)), origins)

    def _row(self, chosen: dict[str, str], origins: Mapping[str, str]) -> RawRow:
        cells = {name: filled(pattern, chosen.__getitem__) for name, pattern in self.patterns.items()}
        cells |= {name: value for name, value in chosen.items() if name in COLUMNS}
        cells.setdefault("id", "-".join(map(_id_part, chosen.values())))
        return RawRow(where=f"row {cells['id'][:80]!r}", cells=cells, origins=origins)

    def check(self, problems: ProblemList) -> None:
        """Note everything that keeps this template from being expanded."""
        used = {name for pattern in self.patterns.values() for name in places(pattern)}
        for column, pattern in self.patterns.items():
            self._check_pattern(column, pattern, problems)
        for name, values in self.axes.items():
            self._check_axis(name, values, name in used, problems)
        self._check_size(problems)

    def _check_pattern(self, column: str, pattern: str, problems: ProblemList) -> None:
        check_braces(column, pattern, problems)
        for token in _TOKEN.finditer(pattern):
            name = token[1]
            if name is not None and name.strip() not in self.axes:
                rule = f"no axis fills {token[0][:60]!r}.{nearest(name, self.axes)}"
                problems.add("template", column, f"{rule} Axes: {', '.join(self.axes) or 'none'}.")

    def _check_axis(self, name: str, values: list[str], used: bool, problems: ProblemList) -> None:
        if not values:
            problems.add("axes", name, "this axis has no values")
        for value, times in Counter(values).items():
            if times > 1:
                problems.add("axes", name, f"the value {value[:60]!r} is listed {times} times")
        if name in self.patterns:
            problems.add("axes", name, "the template sets this column too; keep one of them")
        elif name not in COLUMNS and not used:
            problems.add("axes", name, _unused(name))

    def _check_size(self, problems: ProblemList) -> None:
        if self.count > MAX_ROWS:
            problems.add("axes", "", f"{self.count:,} combinations are above the maximum of {MAX_ROWS:,} rows")
            return
        longest = {name: max(map(len, values), default=0) for name, values in self.axes.items()}
        characters = sum(longest[name] for name in self.axes if name in COLUMNS)
        for pattern in self.patterns.values():
            characters += len(pattern) + sum(longest.get(name, 0) for name in places(pattern))
        if self.count * characters > MAX_CHARACTERS:
            rule = f"{self.count:,} rows of up to {characters:,} characters are above the maximum"
            problems.add("template", "", f"{rule} of {MAX_CHARACTERS:,} characters in all")


def _unused(name: str) -> str:
    hint = " Name it 'resolution' to set the size of the pictures." if name == "size" else nearest(name, COLUMNS)
    return f"no {{{name}}} in the template uses this axis, and it is not a column.{hint}"


def check_braces(column: str, pattern: str, problems: ProblemList) -> None:
    """Note braces that are neither a place nor written twice."""
    for token in _TOKEN.finditer(pattern):
        if token[0] in "{}":
            problems.add("template", column, f"a single {token[0]!r}; write {token[0] * 2!r} for a brace itself")


def places(pattern: str) -> list[str]:
    """The names of the `{place}`s to fill, in order."""
    return [token[1].strip() for token in _TOKEN.finditer(pattern) if token[1] is not None]


def filled(pattern: str, value: Callable[[str], str]) -> str:
    """The pattern with the value of each `{place}`."""
    return _TOKEN.sub(lambda token: token[0][0] if token[1] is None else value(token[1].strip()), pattern)


def _id_part(value: str) -> str:
    """`value` as a part of a row id: readable where it can be, a digest where it cannot."""
    part = re.sub(r"[^\w.-]+", "_", re.sub(r"(?<=\d)\s*[×*X]\s*(?=\d)", "x", value.strip())).strip("_.-")
    part = re.sub(r"\.{2,}", ".", part)
    if not value.strip():
        return "none"
    if part and len(part) <= _LONGEST_PART:
        return part
    digest = hashlib.sha256(value.encode()).hexdigest()[:8]
    return f"{part[:24].strip('_.-')}_{digest}" if part else digest

"""Rows that a YAML catalog makes from a table of something else: products of a shop, prompts of a benchmark."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from foundation.errors import told
from foundation.problems import nearest
from ops.catalog.columns import COLUMNS
from ops.catalog.endings import MAX_BYTES, TABLES, size_rule
from ops.catalog.pictures import CatalogFiles, CatalogPicture
from ops.catalog.problems import ProblemList
from ops.catalog.rows import RawRow
from ops.catalog.sheet import Sheet, read_sheet
from ops.catalog.template import filled, places

ANY = "*"
"""In `where`: any value, as long as the row itself has one."""


@dataclass(frozen=True)
class RowsFrom:
    """What is made of each row of a table.

    Attributes:
        patterns: by column of ours, a text with `{their column}` in the places to fill.
        columns: by column of ours, the column of theirs that is taken as it is.
        where: by column of theirs, the values of which it must have one; `*` is any.
        join: a column of theirs; a blank cell takes the value of the first row that has the same value there.
        carry: the columns of theirs that travel along; `*` is all.
    """

    patterns: Mapping[str, str]
    columns: Mapping[str, str]
    where: Mapping[str, list[str]]
    join: str = ""
    carry: tuple[str, ...] = ()

    def rows(self, sheet: Sheet, problems: ProblemList) -> Iterator[RawRow]:
        """A row for each of the table's that fits; none if this names columns that it has not."""
        header = [name.strip() for name in sheet.header]
        if not self._names_columns_of(header, problems):
            return
        firsts: dict[str, dict[str, str]] = {}
        for place, cells in sheet.rows:
            own = row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
            if self.join:
                first = firsts.setdefault(own.get(self.join, ""), own)
                row = {name: own.get(name) or first.get(name, "") for name in header}
            if all(_fits(own.get(name, ""), row.get(name, ""), values) for name, values in self.where.items()):
                carry = filter(None, header) if ANY in self.carry else self.carry
                carried = {name: cell for name in carry if (cell := row.get(name, ""))}
                yield RawRow(place, self._cells(row, decimal_comma=sheet.decimal_comma), carried=carried)

    def _cells(self, row: Mapping[str, str], *, decimal_comma: bool) -> dict[str, str]:
        cells = {name: filled(pattern, lambda place: row.get(place, "")) for name, pattern in self.patterns.items()}
        taken = {name: row.get(theirs, "") for name, theirs in self.columns.items()}
        if decimal_comma:
            taken = {name: COLUMNS[name].with_point(cell) for name, cell in taken.items()}
        return {name: cell for name, cell in (cells | taken).items() if cell}

    def _names_columns_of(self, header: list[str], problems: ProblemList) -> bool:
        """Note the columns that are named here and not there, and what there is twice."""
        named = [("template", place) for pattern in self.patterns.values() for place in places(pattern)]
        named += [("columns", name) for name in self.columns.values()]
        named += [("where", name) for name in self.where]
        named += [("join", self.join)] if self.join else []
        named += [("carry", name) for name in self.carry if name != ANY]
        fits = True
        for key, name in dict.fromkeys(named):
            if header.count(name) != 1:
                told = "has this column twice" if name in header else f"has no such column.{nearest(name, header)}"
                problems.add(key, name[:80], f"the table {told}")
                fits = False
        return fits


def open_table(files: CatalogFiles, reference: str, problems: ProblemList) -> tuple[Sheet, CatalogPicture] | None:
    """The table that a catalog names, and the file that goes wherever the catalog goes.

    None if it cannot be read, which is noted.
    """
    ending = Path(reference).suffix.lower()
    if ending not in TABLES:
        problems.add("rows_from", "", f"'{reference[:80]}' is no table; use {', '.join(TABLES)}")
        return None
    try:
        file = files.find(reference)
        if file is None:
            problems.add("rows_from", "", f"there is no file '{reference[:80]}' beside the catalog")
            problems.waits = True
            return None
        with file.open() as opened:
            content = opened.read(MAX_BYTES[ending] + 1)
    except (ValueError, OSError) as exc:
        problems.add("rows_from", "", f"'{reference[:80]}' cannot be read: {told(exc)}")
        return None
    if rule := size_rule(Path(reference), len(content)):
        problems.add("rows_from", "", rule)
        return None
    sheet = read_sheet(ending, content, problems)
    return (sheet, replace(file, digest=hashlib.sha256(content).hexdigest())) if sheet else None


def _fits(own: str, joined: str, values: list[str]) -> bool:
    """Whether a cell has one of the values; a value that was joined counts, but not as "any"."""
    return any(bool(own) if value == ANY else joined == value for value in values)

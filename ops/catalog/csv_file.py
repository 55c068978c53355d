"""CSV catalogs: every cell is text, and nothing is guessed."""

import csv
import io
from collections.abc import Iterator

from ops.catalog.columns import COLUMNS, unknown_column
from ops.catalog.problems import ProblemList
from ops.catalog.rows import RawCatalog, RawRow

MAX_COLUMNS = 1_000


def read_csv(text: str, problems: ProblemList) -> RawCatalog:
    """The rows of a CSV file with a header; rows are named by the line they start on.

    Blank lines are skipped. What is wrong goes to `problems`, and such rows are left out.
    """
    lines = _records(text, problems)
    header = next(lines, None)
    if header is None:
        problems.add("", "", "the file is empty: the first line must name the columns, 'text' among them")
        return RawCatalog(rows=[])
    columns = [name.strip() for name in header[1]]
    return RawCatalog(rows=_rows(columns, lines, problems) if _header_can_be_read(columns, problems) else [])


def _records(text: str, problems: ProblemList) -> Iterator[tuple[int, list[str]]]:
    """(line the record starts on, cells) for each record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as exc:
        problems.add(f"line {start}", "", f"{exc}. Is a quotation mark missing, or not doubled inside a cell?")


def _header_can_be_read(columns: list[str], problems: ProblemList) -> bool:
    """Note what is wrong with the header; False if the rows below it cannot be judged."""
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        problems.add("line 1", "", f"the header {columns[0][:80]!r} has no comma: separate the columns by commas")
        return False
    if len(columns) > MAX_COLUMNS:
        problems.add("line 1", "", f"{len(columns):,} columns are above the maximum of {MAX_COLUMNS:,}")
        return False
    seen: set[str] = set()
    for name in filter(None, columns):  # spreadsheets write columns that hold nothing
        if name in seen:
            problems.add("line 1", name[:80], "this column is named twice")
        elif name not in COLUMNS:
            problems.add("line 1", name[:80], unknown_column(name))
        seen.add(name)
    if "text" not in columns:
        problems.add("line 1", "text", "required, but there is no such column")
    return "text" in columns


def _rows(columns: list[str], lines: Iterator[tuple[int, list[str]]], problems: ProblemList) -> Iterator[RawRow]:
    unnamed = [place for place, name in enumerate(columns) if not name]
    ours = [(place, name) for place, name in enumerate(columns) if name in COLUMNS]
    for line, cells in lines:
        if len(cells) != len(columns):
            rule = f"{len(cells)} cells, but the header names {len(columns)} columns."
            problems.add(f"line {line}", "", f"{rule} Put cells with commas in quotation marks.")
            continue
        for place in unnamed:
            if cells[place].strip():
                problems.add_unknown(f"line {line}", f"column {place + 1}", "has a cell, but no name in the first line")
        yield RawRow(f"line {line}", {name: cells[place] for place, name in ours if cells[place].strip()})

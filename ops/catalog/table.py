"""Catalogs that are tables: their header, and their rows as cells by column."""

from collections.abc import Iterator

from ops.catalog.columns import COLUMNS, column_named, unknown_columns
from ops.catalog.problems import ProblemList
from ops.catalog.rows import RawCatalog, RawRow
from ops.catalog.sheet import Sheet, read_sheet

MAX_COLUMNS = 1_000


def read_table(ending: str, content: bytes, problems: ProblemList) -> RawCatalog:
    """The rows of a file whose first row names the columns; rows are named by the line they start on.

    Blank rows, and blank cells behind the last column, are nothing. What is wrong goes to `problems`, and such rows are
    left out.
    """
    sheet = read_sheet(ending, content, problems)
    if sheet is None:
        return RawCatalog()
    columns = [name.strip() for name in sheet.header]
    if not _header_can_be_read(columns, sheet.place, problems):
        return RawCatalog()
    return RawCatalog(_rows(columns, sheet, problems))


def _header_can_be_read(columns: list[str], place: str, problems: ProblemList) -> bool:
    """Note what is wrong with the header; False if the rows below it cannot be judged."""
    if len(columns) > MAX_COLUMNS:
        problems.add(place, "", f"{len(columns):,} columns are above the maximum of {MAX_COLUMNS:,}")
        return False
    seen: set[str] = set()
    unknown = []
    for name in filter(None, columns):  # spreadsheets write columns that hold nothing
        known = column_named(name)
        if (known or name) in seen:
            problems.add(place, name[:80], "this column is named twice")
        elif known is None:
            unknown.append(name)
        seen.add(known or name)
    for column, rule in unknown_columns(unknown):
        problems.add(place, column, rule)
    if "text" not in seen:
        problems.add(place, "text", "required, but there is no such column")
    return not seen.isdisjoint(COLUMNS)


def _rows(columns: list[str], sheet: Sheet, problems: ProblemList) -> Iterator[RawRow]:
    unnamed = [index for index, name in enumerate(columns) if not name]
    ours = [(index, known) for index, name in enumerate(columns) if (known := column_named(name))]
    lacks_text = "text" not in {name for _, name in ours}
    for place, cells in sheet.rows:
        if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
            rule = f"{len(cells)} cells, but the header names {len(columns)} columns."
            problems.add(place, "", f"{rule} Put cells with commas in quotation marks.")
            continue
        for index in unnamed:
            if cells[index].strip():
                problems.add_unknown(place, f"column {index + 1}", "has a cell, but no name in the first line")
        given = {name: cells[index] for index, name in ours if cells[index].strip()}
        if sheet.decimal_comma:
            given = {name: COLUMNS[name].with_point(cell) for name, cell in given.items()}
        if lacks_text:
            given["text"] = "-"  # it is missing in all rows, and told once; the other cells are judged all the same
        yield RawRow(place, given)

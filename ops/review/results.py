"""The table a catalog came from, with what became of each row, in the format it came in."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from foundation.outside_text import printable
from io_managers.image_set import ManifestRow
from ops.catalog.pictures import INPUTS
from ops.catalog.problems import ProblemList
from ops.catalog.reading import given_id, raw_catalog
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.sheet import Sheet, read_sheet

RESULT_COLUMNS = ("status", "file", "URL", "seed", "verdict", "error")
_ACTS = re.compile(r"\s*[=@＝＋－＠]|\s*[+-](?![\d\s.,%/()-]*$)|[\t\r\n]")
"""How a cell of CSV begins that a spreadsheet takes for a formula; a number with a sign is none."""


@dataclass(frozen=True)
class InputTable:
    """A table as somebody brought it: its header, and each row's cells with the id of the catalog's row; "" if none."""

    ending: str
    delimiter: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def input_table(catalogs: RegisteredCatalogs, name: str, made: Sequence[ManifestRow]) -> InputTable:
    """The table that the rows of a registered catalog come from; its own rows if it was written by hand."""
    registration, problems = catalogs.get(name), ProblemList()
    ending = PurePosixPath(registration.file).suffix
    content = catalogs.store.get(INPUTS + registration.content)
    raw = raw_catalog(ending, content, catalogs.files(registration), problems)
    ids = {row.where: given_id(row) for row in raw.rows}
    if raw.files:  # rows_from
        ending = PurePosixPath(raw.files[0].reference).suffix.lower()
        with raw.files[0].open() as file:
            content = file.read()
    sheet = read_sheet(ending, content, problems) if ending not in (".yaml", ".yml") else None
    if sheet is None:
        return _of_rows(made)
    rows = [(ids.get(place, ""), cells) for place, cells in sheet.rows]
    return InputTable(ending, _delimiter(ending, sheet), sheet.header, rows)


def write_results(table: InputTable, results: Mapping[str, Mapping[str, str]]) -> tuple[str, bytes]:
    """The file's name and content: the table, and behind its columns those of `RESULT_COLUMNS`."""
    header = [*table.header, *(_unlike(name, table.header) for name in RESULT_COLUMNS)]
    lines = list(_lines(table, results))
    if table.ending == ".xlsx":
        return "results.xlsx", _workbook([header, *lines])
    if table.ending == ".jsonl":
        objects = (dict(zip(header, line, strict=True)) for line in lines)
        return "results.jsonl", "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in objects).encode()
    text = io.StringIO()
    csv.writer(text, delimiter=table.delimiter).writerows([_inert(cell) for cell in line] for line in [header, *lines])
    # With the mark, spreadsheets know that it is UTF-8.
    return f"results{'.tsv' if table.ending == '.tsv' else '.csv'}", text.getvalue().encode("utf-8-sig")


def _lines(table: InputTable, results: Mapping[str, Mapping[str, str]]) -> Iterator[list[str]]:
    width = len(table.header)
    for row_id, cells in table.rows:
        own, result = [*cells, *[""] * width][:width], results.get(row_id, {})
        yield [*own, *(printable(result.get(name, "")) for name in RESULT_COLUMNS)]


def _of_rows(made: Sequence[ManifestRow]) -> InputTable:
    carried = [json.loads(row.carry) if row.carry else {} for row in made]
    names = list(dict.fromkeys(name for one in carried for name in one))
    rows = [
        (row.row_id, [row.row_id, row.text, *(one.get(name, "") for name in names)])
        for row, one in zip(made, carried, strict=True)
    ]
    return InputTable(".csv", ",", ["id", "text", *names], rows)


def _delimiter(ending: str, sheet: Sheet) -> str:
    return "\t" if ending == ".tsv" else ";" if sheet.decimal_comma else ","


def _unlike(name: str, header: Sequence[str]) -> str:
    """A name of ours that no column of theirs has."""
    return f"{name} of picture" if name.casefold() in (one.strip().casefold() for one in header) else name


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula, whoever wrote it."""
    return f"'{cell}" if _ACTS.match(cell) else cell


def _workbook(lines: Sequence[Sequence[str]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell import Cell

    def text(cell: str) -> Cell:
        """A cell of text, also where it reads like a formula."""
        made = Cell(sheet, 1, 1, cell)
        made.data_type = "s"
        return made

    book = Workbook(write_only=True)
    sheet = book.create_sheet("results")
    for line in lines:
        sheet.append([text(cell) for cell in line])
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()

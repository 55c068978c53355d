"""Tables as files give them: CSV and its relatives, lines of JSON, and Excel workbooks; nothing is judged here."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, time
from typing import Any, Literal

from foundation.problems import shown
from ops.catalog.columns import column_named
from ops.catalog.decoding import decoded
from ops.catalog.problems import ProblemList

MAX_UNPACKED_BYTES = 512 * 2**20
"""What a workbook, a zip file of XML, may come to; a table of 100,000 rows and 30 columns takes about 200 MB."""

MAX_CELLS = 20_000_000
"""What the sheets of a workbook may hold, empty cells between others among them."""
_TOO_LARGE = "the workbook unpacks to more than {:,} bytes; save it as CSV, in UTF-8"
_ROW_CELLS = 10
"""A row takes as long as so many cells, if it is empty, too."""

_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t,;|"}
"""By ending: the first is taken where nothing tells them apart."""

_HALF = re.compile("[\ud800-\udfff]")
_SEPARATOR = re.compile(r'"?sep=([^"\s]|\t)?"?\1*\s*', re.IGNORECASE)
"""Excel's first line; saved again, it is followed by a separator for each further column."""


@dataclass(frozen=True)
class Sheet:
    """One table.

    Attributes:
        header: the names of the columns, as they are written.
        place: of the header, for problems.
        rows: (place, cells) of each row that is not blank; may be read once.
        decimal_comma: numbers may be written 7,5, as where semicolons part the cells.
    """

    header: list[str]
    place: str
    rows: Iterable[tuple[str, list[str]]]
    decimal_comma: bool = False


def read_sheet(ending: str, content: bytes, problems: ProblemList) -> Sheet | None:
    """The table in a file with that ending (`.csv`, `.tsv`, `.jsonl`, `.xlsx`); None if it cannot be read.

    What is wrong goes to `problems`; while the rows are read, too.
    """
    if ending == ".xlsx":
        return _workbook(content, problems)
    text = decoded(content, problems)
    if problems.total:
        return None
    sheet = _json_lines(text, problems) if ending == ".jsonl" else _delimited(text, _DELIMITERS[ending], problems)
    if sheet is None and not problems.total:
        problems.add("", "", "the file is empty: the first line must name the columns, 'text' among them")
    return sheet


def _delimited(text: str, delimiters: str, problems: ProblemList) -> Sheet | None:
    first, _, rest = text.partition("\n")
    told = _SEPARATOR.fullmatch(first.strip("\r\n"))
    skipped = 0
    if told:
        delimiters, text, skipped = told[1] or "\t", rest.removeprefix("\ufeff"), 1
    delimiter = _delimiter(text, delimiters)
    records = _records(text, delimiter, skipped, problems)
    header = next(records, None)
    return Sheet(header[1], header[0], records, delimiter == ";") if header else None


def _delimiter(text: str, candidates: str) -> str:
    """What parts the cells of the first line: what yields the most of our columns, else the most columns."""
    header = next((line for line in text.splitlines() if line.strip()), "")[:100_000]

    def found(delimiter: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=delimiter), [])
        return sum(column_named(cell) is not None for cell in cells), len(cells)

    return max(candidates, key=found)


def _records(text: str, delimiter: str, skipped: int, problems: ProblemList) -> Iterator[tuple[str, list[str]]]:
    """(line the record starts on, cells) for each record that is not blank."""
    is_plain = delimiter == "\t" and '"' in text and _has_plain_quotes(text)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if is_plain else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"line {start + skipped}", cells
            start = reader.line_num + 1
    except csv.Error as exc:
        hint = "Is a quotation mark missing, or not doubled inside a cell?"
        problems.add(f"line {start + skipped}", "", f"{exc}. {hint}")


def _has_plain_quotes(text: str) -> bool:
    """Whether quotation marks of a tab-separated text belong to its cells, as where none of it was written by a
    spreadsheet: they do not pair up, none is doubled, and each line is a whole row.
    """
    lines = io.StringIO(text, newline="")
    try:
        for _ in csv.reader(lines, delimiter="\t", strict=True):
            pass
    except csv.Error:
        lines.seek(0)
        return '""' not in text and len({line.count("\t") for line in lines if line.strip()}) == 1
    return False


def _json_lines(text: str, problems: ProblemList) -> Sheet | None:
    """Objects, one a line; a column for each of their names, in the order in which they are met."""
    rows = list(_objects(text, problems))
    header = list(dict.fromkeys(name for _, row in rows for name in row))
    if not header or problems.total:
        return None
    return Sheet(header, "line 1", ((place, [row.get(name, "") for name in header]) for place, row in rows))


def _objects(text: str, problems: ProblemList) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            given = json.loads(line, object_pairs_hook=_named_once, parse_constant=_no_number)
            if "\\ud" in line.lower() and _HALF.search(json.dumps(given, ensure_ascii=False)):
                raise ValueError("it holds half a character (a lone surrogate)")
        except (ValueError, RecursionError) as exc:
            reason = exc.msg if isinstance(exc, json.JSONDecodeError) else str(exc)
            problems.add(f"line {number}", "", f"not a JSON object: {reason}")
            continue
        if not isinstance(given, dict):
            problems.add(f"line {number}", "", f"{shown(given)} is not a JSON object of columns")
            continue
        yield f"line {number}", {name: _json_cell(value) for name, value in given.items()}


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = dict(pairs)
    if len(names) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the column {shown(twice)} is named twice")
    return names


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _json_cell(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else _cell(value)


def _workbook(content: bytes, problems: ProblemList) -> Sheet | None:
    """The sheet of a workbook that has a column `text`; the first that holds anything if none has."""
    import openpyxl

    if not _is_small(content, problems):
        return None
    tables = []
    with _reading(problems):
        workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        cells = _Cells(problems)
        tables = [table for sheet in sheets if (table := _table(sheet, cells)) is not None]
    if problems.total:
        return None
    ours = [(name, table) for name, table in tables if any(column_named(cell) == "text" for cell in table.header)]
    if len(ours) > 1:
        names = ", ".join(shown(name) for name, _ in ours[:10])
        problems.add("", "", f"the sheets {names} all have a column 'text'; keep one of them in the file")
        return None
    if not tables:
        problems.add("", "", "the workbook holds no table: its first row must name the columns, 'text' among them")
        return None
    return (ours or tables)[0][1]


@contextmanager
def _reading(problems: ProblemList) -> Iterator[None]:
    """What openpyxl raises is a problem of the workbook: it is whatever its parsers do."""
    try:
        yield
    except Exception as exc:
        problems.add("", "", f"this is not a workbook that can be read ({type(exc).__name__}); save it again as .xlsx")


class _Cells:
    """The cells of a workbook that have been read; a few bytes can stand for millions, or for one text in all rows."""

    def __init__(self, problems: ProblemList) -> None:
        self._problems = problems
        self._left, self._letters = MAX_CELLS, 0

    def of(self, worksheet: Any) -> Iterator[tuple[str, list[str]]]:
        """(place, cells) of each row that is not blank; what is beyond the limits, or cannot be read, is a problem."""
        worksheet.reset_dimensions()  # what it says of its size is not believed
        rows = enumerate(worksheet.iter_rows(values_only=True), start=1)
        while row := self._next(rows):
            if any(cell.strip() for cell in row[1]):
                yield row

    def _next(self, rows: Iterator[tuple[int, Sequence[Any]]]) -> tuple[str, list[str]] | None:
        with _reading(self._problems):
            number, values = next(rows, (0, ()))
            place, cells = f"row {number}", [_cell(value) for value in values]
            self._left -= _ROW_CELLS + len(cells)
            self._letters += sum(map(len, cells))
            if self._left < 0:
                rule = f"the workbook has more than {MAX_CELLS:,} cells, most of them empty"
                self._problems.add(place, "", f"{rule}; delete the empty ones, or save it as CSV, in UTF-8")
            elif self._letters > MAX_UNPACKED_BYTES:
                self._problems.add(place, "", _TOO_LARGE.format(MAX_UNPACKED_BYTES))
            elif number:
                return place, cells
        return None


def _table(worksheet: Any, cells: _Cells) -> tuple[str, Sheet] | None:
    """The sheet's name and table; None if it holds nothing."""
    rows = cells.of(worksheet)
    header = next(rows, None)
    return (worksheet.title, Sheet(header[1], header[0], _as_wide(rows, len(header[1])))) if header else None


def _as_wide(rows: Iterable[tuple[str, list[str]]], width: int) -> Iterator[tuple[str, list[str]]]:
    return ((place, cells + [""] * (width - len(cells))) for place, cells in rows)


def _cell(value: Any) -> str:
    """A typed cell as a person would write it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def _is_small(content: bytes, problems: ProblemList) -> bool:
    """Whether a workbook unpacks to a size that can be read; what it says of its size is not believed."""
    unpacked = 0
    with _reading(problems), zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as opened:
                while chunk := opened.read(2**20):
                    unpacked += len(chunk)
                    if unpacked > MAX_UNPACKED_BYTES:
                        problems.add("", "", _TOO_LARGE.format(MAX_UNPACKED_BYTES))
                        return False
    return not problems.total

"""Catalogs: prompt files checked row by row, as one table with a row per picture."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, cast

from foundation.errors import told
from foundation.map_ahead import map_ahead
from models.admission import parse_request
from models.errors import InvalidRequestError
from models.lora import LoraChoice
from models.planning import row_seed
from models.request import ControlChoice, GenerationRequest
from ops.catalog.columns import (
    COLUMNS,
    OPTIONS,
    PICTURE_COLUMNS,
    cell_rule,
    column_of,
    controls_cell,
    layered,
    loras_cell,
    named_pictures,
    request_data,
)
from ops.catalog.decoding import decoded
from ops.catalog.document import read_document
from ops.catalog.endings import MAX_BYTES, OTHER_TABLES, TABLES, size_rule
from ops.catalog.pictures import CatalogFiles, CatalogPicture, FolderFiles
from ops.catalog.problems import CatalogError, ProblemList
from ops.catalog.rows import CatalogTerms, RawCatalog, RawRow
from ops.catalog.table import read_table
from ops.catalog.template import MAX_ROWS

if TYPE_CHECKING:
    import pandas as pd

    from models.registry import ModelRegistry

MAX_ID = 200
"""Letters of a row's id; ids are people's own, such as article numbers, and are never part of a key or a path."""

_NAME = re.compile(r"\w[\w.-]{0,99}")
_NAME_BYTES = 240
"""In UTF-8; a key of the store has room for so many and an ending."""
_NAME_RULE = (
    "1 to 100 letters, digits, '_', '-' and '.', beginning with a letter, a digit or '_', without '..', of at most "
    f"{_NAME_BYTES} bytes"
)


@dataclass(frozen=True, eq=False)
class Catalog:
    """A checked catalog.

    `table` has one row per picture and the columns of INTERFACES.md §10 (`id` unique, every default filled in, a
    `watermark_font_size` of 0 meaning that it follows the picture's width);
    `digest` is the sha256 of the file and the pictures it names; `pictures` are those that are files, and tables that
    rows come from; `objects` are the keys of the others.
    """

    name: str
    table: "pd.DataFrame"
    digest: str
    pictures: tuple[CatalogPicture, ...]
    objects: tuple[str, ...]
    terms: CatalogTerms

    def requests(self) -> Iterator[tuple[str, GenerationRequest]]:
        """(row id, request) in the order of the file."""
        return table_requests(self.table)


def catalog_name(path: Path) -> str:
    """The name of the catalog in a file: the file's own without its ending; CatalogError if it breaks the rule."""
    name = unicodedata.normalize("NFC", path.stem)
    if not is_name(name):
        hint = f". Name it '{suggested}{path.suffix}'" if (suggested := _suggested(name)) else ""
        raise CatalogError(name[:80], f"the file must be named by {_NAME_RULE}{hint}")
    return name


def _suggested(name: str) -> str:
    """A name like this one that a catalog can have: 'Spring - Sheet1' is spring's sheet, 'shop (1)' a second shop."""
    part = re.sub(r"[^\w.-]+", "_", re.sub(r" - Sheet\d+$", "", name)).strip("_.-")
    part = re.sub(r"\.{2,}", ".", part)[:100]
    return part if is_name(part) else ""


def is_name(text: str) -> bool:
    """Whether `text` can be a catalog's name: safe in keys, file names and partitions."""
    return _NAME.fullmatch(text) is not None and ".." not in text and len(text.encode()) <= _NAME_BYTES


def read_catalog(path: Path, registry: "ModelRegistry", has_object: Callable[[str], bool] | None = None) -> Catalog:
    """Read and check a catalog's file, which names files beside it.

    Args:
        has_object: see `check_catalog`.
    Raises:
        CatalogError: listing every problem with row and column. Nothing else is raised, whatever the file holds.
    """
    name = catalog_name(path)
    return check_catalog(path.name, catalog_content(path), FolderFiles(path.parent, name), registry, has_object)


def check_catalog(
    file_name: str,
    content: bytes,
    files: CatalogFiles,
    registry: "ModelRegistry",
    has_object: Callable[[str], bool] | None = None,
) -> Catalog:
    """Check the catalog whose file has this name and content.

    Args:
        files: where the files are that it names.
        has_object: whether the store has an object, which rows may name as pictures; None if nobody can tell now.
    Raises:
        CatalogError: listing every problem with row and column.
        CatalogHeldUpError: if some picture or table is not there, but may still come.
    """
    name, ending = catalog_name(Path(file_name)), Path(file_name).suffix.lower()
    problems = ProblemList()
    raw = raw_catalog(ending, content, files, problems)
    checker = _RowChecker(files, registry, problems)
    records = checker.records(raw)
    if has_object:
        checker.check_objects(has_object)
    problems.raise_any(name)
    pictures = (*raw.files, *(picture for picture in checker.pictures.values() if picture))
    digest = catalog_digest(content, pictures)
    return Catalog(name, _table(records), digest, pictures, tuple(checker.object_keys), raw.terms)


def catalog_content(path: Path) -> bytes:
    """The content of a catalog's file. Raises CatalogError if it is none, too large, or cannot be read."""
    name, problems = catalog_name(path), ProblemList()
    content = _content(path, problems)
    problems.raise_any(name)
    return content


def given_id(row: RawRow) -> str:
    """The id of a row: its own, or its digest."""
    return unicodedata.normalize("NFC", row.cells.get("id", "").strip()) or row.digest


def row_request(row: Mapping[str, object]) -> GenerationRequest:
    """The request of one row of a catalog's table (a mapping, or a pandas Series)."""
    cells = {name: str(row[name]) for name in COLUMNS if name in row}  # a table may be older than a column
    if cells["watermark_font_size"] == str(_AUTOMATIC):
        del cells["watermark_font_size"]
    return GenerationRequest.model_validate(request_data(cells))


def table_requests(table: "pd.DataFrame") -> Iterator[tuple[str, GenerationRequest]]:
    """(row id, request) of each row of a catalog's table."""
    columns = list(table.columns)
    for values in table.itertuples(index=False, name=None):
        row = dict(zip(columns, values, strict=True))
        yield str(row["id"]), row_request(row)


def raw_catalog(ending: str, content: bytes, files: CatalogFiles, problems: ProblemList) -> RawCatalog:
    """The rows of a catalog's file with this ending, before any is judged."""
    if ending in TABLES:
        return read_table(ending, content, problems)
    text = decoded(content, problems)
    return RawCatalog() if problems.total else read_document(text, files, problems)


def _content(path: Path, problems: ProblemList) -> bytes:
    if path.suffix.lower() not in MAX_BYTES:
        is_sheet = path.suffix.lower() in OTHER_TABLES
        advice = "save the table as .xlsx or .csv" if is_sheet else f"use {', '.join(MAX_BYTES)}"
        problems.add("", "", f"'{path.suffix}' is not a catalog's ending; {advice}")
        return b""
    try:
        if not path.is_file():
            problems.add("", "", f"no file {path}")
        elif rule := size_rule(path, path.stat().st_size):
            problems.add("", "", rule)
        else:
            return path.read_bytes()
    except (OSError, ValueError) as exc:
        problems.add("", "", f"the file cannot be read: {told(exc)}")
    return b""


def catalog_digest(content: bytes, pictures: Iterable[CatalogPicture]) -> str:
    """The sha256, in hex, of a catalog's file and of the files it names."""
    digest = hashlib.sha256(content)
    for picture in sorted(pictures, key=lambda one: one.reference):
        digest.update(f"\n{picture.reference}\0{picture.digest}".encode())
    return digest.hexdigest()


@dataclass
class _RowChecker:
    """Turns raw rows into records of the table, noting what is wrong with them."""

    files: CatalogFiles
    registry: "ModelRegistry"
    problems: ProblemList
    places: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, CatalogPicture | None] = field(default_factory=dict)
    object_keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    """With the place and column that name each first."""

    def records(self, raw: RawCatalog) -> list[tuple[object, ...]]:
        """A record for each good row, in the order of the file."""
        origins = dict.fromkeys(raw.defaults, "defaults")
        records, count = [], 0
        idle = {name for name in OPTIONS if raw.defaults.get(name, "").strip()}
        for count, row in enumerate(raw.rows, start=1):
            if count > MAX_ROWS:
                self.problems.add(row.where, "", f"more than the maximum of {MAX_ROWS:,} rows")
                break
            cells = layered(raw.defaults, row.cells)
            idle -= cells.keys()
            if record := self._record(row, cells, {**origins, **row.origins}):
                records.append(record)
        for column in sorted(idle) if count else ():
            self.problems.add("defaults", column, f"has no effect: no row has a cell for {OPTIONS[column]}")
        if count == 0 and not self.problems.total:
            self.problems.add("", "", "the catalog has no rows")
        return records

    def _record(self, row: RawRow, cells: Mapping[str, str], origins: Mapping[str, str]) -> tuple[object, ...] | None:
        row_id = self._row_id(row)
        if cells.get("watermark_text", "").strip() and cells.get("watermark_image", "").strip():
            self.problems.add(row.where, "watermark_image", "give watermark_text or watermark_image, not both")
            cells = {**cells, "watermark_text": ""}
        for column, cell in cells.items():
            if cell and cell[0] in _ODD_BEGINNINGS and (rule := cell_rule(cell)):
                self.problems.add(self._place(row, column, origins), column, rule)
        for column in PICTURE_COLUMNS:
            for reference in named_pictures(column, cells.get(column, "")):
                self._check_picture(self._place(row, column, origins), column, reference)
        try:
            request = parse_request(request_data(cells), self.registry)
        except InvalidRequestError as exc:
            for problem in exc.problems:
                column = column_of(problem.field)
                self.problems.add(self._place(row, column, origins), column, problem.rule)
            return None
        seed = request.params.seed
        values = _values(row_id, request, row_seed(row_id) if seed is None else seed)
        return *values, json.dumps(dict(row.carried), ensure_ascii=False) if row.carried else ""

    def _place(self, row: RawRow, column: str, origins: Mapping[str, str]) -> str:
        """Where a cell comes from: the row itself, or something that many rows share."""
        if column in row.cells:
            return row.origins.get(column, row.where)
        return origins.get(column, row.where)

    def _row_id(self, row: RawRow) -> str:
        given, row_id = row.cells.get("id", "").strip(), given_id(row)
        if len(row_id) > MAX_ID or not row_id.isprintable():
            rule = f"must be at most {MAX_ID} letters, none of them a control character"
            self.problems.add(row.where, "id", f"{row_id[:80]!r} {rule}")
        elif row_id in self.places:
            other = self.places[row_id]
            rule = f"{row_id!r} is already the id of {other}" if given else f"this row repeats {other}"
            self.problems.add(row.where, "id", rule if given else f"{rule}; give both an id of their own, or a seed")
        self.places.setdefault(row_id, row.where)
        return row_id

    def _check_picture(self, place: str, column: str, reference: str) -> None:
        if reference not in self.pictures:
            try:
                self.pictures[reference] = self.files.find(reference)
                if self.pictures[reference] is None:
                    self.object_keys[reference] = (place, column)
            except ValueError as exc:
                self.problems.add(place, column, str(exc))

    def check_objects(self, has_object: Callable[[str], bool]) -> None:
        """Note the pictures that are nowhere; they may still come."""
        for key, is_there in map_ahead(has_object, self.object_keys):
            if not is_there:
                rule = f"{key[:80]!r} is neither a file beside the catalog nor an object in the store; put it there"
                self.problems.add(*self.object_keys[key], rule)
                self.problems.waits = True


_ODD_BEGINNINGS = frozenset("#=nN ")

_VALUES = [(attrgetter(column.field), column.kind) for column in COLUMNS.values() if column.field]


def _values(row_id: str, request: GenerationRequest, seed: int) -> tuple[object, ...]:
    values: list[object] = [row_id]
    for value, kind in _VALUES:
        given = value(request)
        values.append(_EMPTY[kind] if given is None else _cell(given, kind))
    values[_SEED] = seed
    return tuple(values)


def _cell(given: object, kind: str) -> object:
    if kind == "loras":
        return loras_cell(cast("tuple[LoraChoice, ...]", given))
    if kind == "controls":
        return controls_cell(cast("tuple[ControlChoice, ...]", given))
    return given if kind in _NUMERIC else str(given)


CARRY = "carry"
"""The column of a catalog's table for what travels along, as a JSON object; only where a row has something."""
_SEED = list(COLUMNS).index("seed")
_AUTOMATIC = 0
_NUMERIC = ("integer", "number")
_EMPTY = {"prose": "", "word": "", "loras": "", "controls": "", "integer": _AUTOMATIC, "number": 0.0}
_DTYPES = {"prose": "str", "word": "str", "loras": "str", "controls": "str", "integer": "int64", "number": "float64"}


def _table(records: list[tuple[object, ...]]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame.from_records(records, columns=[*COLUMNS, CARRY])
    if not table[CARRY].any():
        table = table.drop(columns=CARRY)
    return table.astype({name: _DTYPES[column.kind] for name, column in COLUMNS.items()})

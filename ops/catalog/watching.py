"""Watching a catalog source: which catalogs are new, changed, wrong or gone since the last look."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.registry import ModelRegistry
from ops.catalog.endings import MAX_BYTES
from ops.catalog.problems import CatalogError, CatalogHeldUpError, SourceGoneError
from ops.catalog.reading import Catalog, catalog_name
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.source import CatalogSource

LOOK_S = 20.0
"""Catalogs that are not checked within so long wait for the next look: a sensor's tick must end within 60 s."""


@dataclass(frozen=True)
class Known:
    """A file that was dealt with: its mark then, its catalog's name and digest ("" if it was refused), and why.

    Without a mark it is dealt with again at the next look.
    """

    mark: str = ""
    catalog: str = ""
    digest: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class SourceState:
    """What the last look left behind: by file name, what was dealt with, and the marks of what was seen only once."""

    known: dict[str, Known] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "SourceState":
        """The state that `to_json` wrote."""
        return cls({name: Known(**known) for name, known in data["known"].items()}, data["pending"])


@dataclass
class Look:
    """What one look found and did.

    Attributes:
        changed: catalogs that are registered now with other content than before.
        refused: errors by file name, of files that are wrong in a way that was not known yet.
        retired: names of catalogs whose file is gone.
    """

    state: SourceState
    changed: list[Catalog] = field(default_factory=list)
    refused: dict[str, CatalogError] = field(default_factory=dict)
    retired: list[str] = field(default_factory=list)


def look(
    source: CatalogSource,
    before: SourceState,
    catalogs: RegisteredCatalogs,
    registry: ModelRegistry,
    *,
    retire: bool = True,
    may_retire: Callable[[str], bool] = lambda catalog: True,
) -> Look:
    """Look at every catalog of a source once, and register what is new or changed.

    A file is taken when two looks in a row find the same content, since it may be half-written before; a source that is
    atomic needs one. A file that is wrong is refused once for each content, and the catalog it replaces stays; what is
    wrong is told beside the file. Where only something around the file is in the way, it is tried again at every look.
    A renamed file, `shop.csv` that is `shop.yaml` now, goes on as the same catalog.

    Args:
        retire: a catalog whose file is gone is retired.
        may_retire: says whether a catalog may be retired now; the others are asked about again at the next look.
    Raises:
        SourceGoneError: if the source is away, with catalogs that are known; none is retired then.
    """
    count = sum(bool(known.catalog) for known in before.known.values())
    if count and not source.is_there:
        raise SourceGoneError(str(source), count)
    result = Look(SourceState(dict(before.known)))
    marks = dict(source.marks())
    _forget_gone(set(marks), before, result, catalogs if retire else None, may_retire)
    began = time.monotonic()
    for file_name, mark in marks.items():
        known = result.state.known.get(file_name)
        if known and known.mark == mark:
            continue
        settled = source.is_atomic or before.pending.get(file_name) == mark
        if settled and time.monotonic() - began < LOOK_S:
            _take(file_name, mark, source, result, catalogs, registry)
        else:
            result.state.pending[file_name] = mark
    for file_name in before.known.keys() - result.state.known.keys():
        source.tell(file_name, "")
    return result


def _take(
    file_name: str,
    mark: str,
    source: CatalogSource,
    result: Look,
    catalogs: RegisteredCatalogs,
    registry: ModelRegistry,
) -> None:
    known = result.state.known.get(file_name)
    try:
        if name := name_of(file_name):
            _refuse_second_file(name, file_name, result.state)
        with tempfile.TemporaryDirectory() as folder:
            file, pictures_from = source.fetch(file_name, Path(folder))
            catalog = catalogs.register(file, registry, pictures_from)
    except CatalogError as exc:
        _refuse(file_name, mark, exc, source, result)
        return
    if known and known.refusal:
        source.tell(file_name, "")
    if known is None or known.digest != catalog.digest:
        result.changed.append(catalog)
    result.state.known[file_name] = Known(mark, catalog.name, catalog.digest)


def _refuse(file_name: str, mark: str, error: CatalogError, source: CatalogSource, result: Look) -> None:
    """Note what is wrong with a file, and tell it if that is news."""
    known = result.state.known.get(file_name, Known())
    is_held_up = isinstance(error, CatalogHeldUpError)
    if is_held_up:
        result.state.pending[file_name] = mark
    refusal = f"catalog '{error.name}': {error.problems[0]}" if is_held_up else _first_line(error)
    if not is_held_up or known.refusal != refusal:
        source.tell(file_name, str(error))
        result.refused[file_name] = error
    result.state.known[file_name] = Known("" if is_held_up else mark, known.catalog, known.digest, refusal)


def _refuse_second_file(name: str, file_name: str, state: SourceState) -> None:
    """Two files of one name and different endings would replace each other at every look."""
    for other, known in state.known.items():
        if known.catalog == name and other != file_name:
            raise CatalogHeldUpError(name, f"'{other}' is this catalog already; remove one of them")


def _forget_gone(
    found: set[str],
    before: SourceState,
    result: Look,
    catalogs: RegisteredCatalogs | None,
    may_retire: Callable[[str], bool],
) -> None:
    """Retire the catalogs whose file two looks in a row did not find, unless another file goes on with them.

    Without `catalogs` they are only forgotten.
    """
    heirs = {name_of(file_name): file_name for file_name in sorted(found)}
    for file_name, known in before.known.items():
        if file_name in found:
            continue
        if not known.catalog:
            del result.state.known[file_name]
        elif catalogs and before.pending.get(file_name) != _GONE:
            result.state.pending[file_name] = _GONE
        elif heir := heirs.get(known.catalog):
            del result.state.known[file_name]
            refusal = result.state.known.get(heir, Known()).refusal
            result.state.known[heir] = Known("", known.catalog, known.digest, refusal)
        elif not catalogs:
            del result.state.known[file_name]
        elif not may_retire(known.catalog):
            result.state.pending[file_name] = _GONE
        else:
            catalogs.retire(known.catalog)
            del result.state.known[file_name]
            result.retired.append(known.catalog)


def name_of(file_name: str) -> str:
    """The catalog that a file is named for; "" if it cannot be one."""
    try:
        return catalog_name(Path(file_name)) if Path(file_name).suffix.lower() in MAX_BYTES else ""
    except CatalogError:
        return ""


_GONE = "gone"


def _first_line(error: CatalogError) -> str:
    return str(error).partition("\n")[0]

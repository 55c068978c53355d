"""Watching a catalog source: which catalogs are new, changed, wrong or gone since the last look."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from configs.settings import Settings
from models.registry import ModelRegistry
from ops.catalog.folder import register_catalog, retire_catalog
from ops.catalog.problems import CatalogError, CatalogProblem, SourceGoneError
from ops.catalog.reading import Catalog, catalog_name
from ops.catalog.source import CatalogSource

LOOK_S = 20.0
"""Catalogs that are not checked within so long wait for the next look: a sensor's tick must end within 60 s."""


@dataclass(frozen=True)
class Known:
    """A file that was dealt with: its mark then, its catalog's name and digest ("" if it was refused), and why."""

    mark: str
    catalog: str
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
    settings: Settings,
    registry: ModelRegistry,
    *,
    may_retire: Callable[[str], bool] = lambda catalog: True,
) -> Look:
    """Look at every catalog of a source once, and register what is new or changed.

    A file is taken when two looks in a row find the same content, since it may be half-written before; a source that is
    atomic needs one. A file that is wrong is refused once for each content, and the catalog it replaces stays; what is
    wrong is told beside the file.

    Args:
        may_retire: says whether a catalog may be retired now; the others are asked about again at the next look.
    Raises:
        SourceGoneError: if the source is away, with catalogs that are known; none is retired then.
    """
    catalogs = sum(bool(known.catalog) for known in before.known.values())
    if catalogs and not source.is_there:
        raise SourceGoneError(str(source), catalogs)
    result = Look(SourceState(dict(before.known)))
    marks = dict(source.marks())
    began = time.monotonic()
    for file_name, mark in marks.items():
        known = before.known.get(file_name)
        if known and known.mark == mark:
            continue
        settled = source.is_atomic or before.pending.get(file_name) == mark
        if settled and time.monotonic() - began < LOOK_S:
            _take(file_name, mark, source, result, settings, registry)
        else:
            result.state.pending[file_name] = mark
    _forget_gone(set(marks), before, result, settings, may_retire)
    for file_name in before.known.keys() - result.state.known.keys():
        source.tell(file_name, "")
    return result


def _take(
    file_name: str, mark: str, source: CatalogSource, result: Look, settings: Settings, registry: ModelRegistry
) -> None:
    known = result.state.known.get(file_name)
    try:
        name = catalog_name(Path(file_name))
        _refuse_second_file(name, file_name, result.state)
        with tempfile.TemporaryDirectory() as folder:
            catalog = register_catalog(source.fetch(file_name, Path(folder)), settings, registry)
    except CatalogError as exc:
        source.tell(file_name, str(exc))
        result.refused[file_name] = exc
        kept = known or Known(mark, "")
        result.state.known[file_name] = Known(mark, kept.catalog, kept.digest, _first_line(exc))
        return
    if known and known.refusal:
        source.tell(file_name, "")
    if known is None or known.digest != catalog.digest:
        result.changed.append(catalog)
    result.state.known[file_name] = Known(mark, catalog.name, catalog.digest)


def _refuse_second_file(name: str, file_name: str, state: SourceState) -> None:
    """Two files of one name and different endings would replace each other at every look."""
    for other, known in state.known.items():
        if known.catalog == name and other != file_name:
            rule = f"'{other}' is this catalog already; remove one of them"
            raise CatalogError(name, [CatalogProblem("", "", rule)])


def _forget_gone(
    found: set[str], before: SourceState, result: Look, settings: Settings, may_retire: Callable[[str], bool]
) -> None:
    """Retire the catalogs whose file two looks in a row did not find."""
    for file_name, known in before.known.items():
        if file_name in found:
            continue
        if not known.catalog or not settings.catalog_source.retire:
            del result.state.known[file_name]
        elif before.pending.get(file_name) != _GONE or not may_retire(known.catalog):
            result.state.pending[file_name] = _GONE
        else:
            del result.state.known[file_name]
            retire_catalog(known.catalog, settings)
            result.retired.append(known.catalog)


_GONE = "gone"


def _first_line(error: CatalogError) -> str:
    return str(error).partition("\n")[0]

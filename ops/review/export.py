"""Delivery: a catalog's approved pictures as `<id>.<ext>`, with the table they came from and what became of each row.

Only what has changed since the last export to the same place is written; what was approved then and is no more goes.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import ManifestRow
from models.encoding import CONTENT_TYPES
from ops.catalog.registered import RegisteredCatalogs
from ops.file_names import file_stems
from ops.review.catalog_view import CatalogViews
from ops.review.results import input_table, write_results
from ops.review.verdicts import NOTHING_SAID, Standing, State
from resources.object_store import ObjectNotFoundError, ObjectStore
from resources.stored_json import put_json

WRITTEN = "imagegenx-export.json"
"""Beside the pictures: what an export has written there, by file."""


class NothingToExportError(ImageGenXError):
    """The catalog has not been made yet."""


@dataclass(frozen=True)
class Exported:
    """How many pictures there are now at the place, and how many files were written, kept and removed there."""

    pictures: int
    written: int
    kept: int
    removed: int
    counts: Mapping[str, int]


def export_catalog(
    catalogs: RegisteredCatalogs, name: str, target: ObjectStore, prefix: str, uri: Callable[[str], str]
) -> Exported:
    """Export a catalog's pictures: the approved ones if it is reviewed, else all that nobody rejected.

    Args:
        target, prefix: where to; a folder is a local store.
        uri: the address of a stored picture, for the table.
    Raises:
        CatalogError: if there is no such catalog.
        NothingToExportError: if it has not been made.
    """
    store, views = catalogs.store, CatalogViews(catalogs.store)
    required, view = catalogs.get(name).review.required, views.get(name)
    if not view.version:
        raise NothingToExportError(f"catalog '{name}' has not been made yet. Materialize it, then export it.")
    standings = views.verdicts(name).standings()
    stems = file_stems(row.row_id for row in view.rows)
    files = {
        f"{stems[row.row_id]}.{row.format}": row
        for row in view.rows
        if row.status.has_picture and _goes(standings.get(row.recipe_digest, NOTHING_SAID), required=required)
    }
    table = input_table(catalogs, name, view.rows)
    names = {row.row_id: file for file, row in files.items()}
    results = {row.row_id: _result(row, names.get(row.row_id, ""), standings, uri) for row in view.rows}
    results_name, content = write_results(table, results)
    before = _written(target, prefix)
    news = {file: row for file, row in files.items() if before.get(file) != row.digest or not row.digest}

    def write(file: str) -> None:
        target.put(f"{prefix}{file}", store.get(files[file].key), content_type=CONTENT_TYPES[files[file].format])

    for _ in map_ahead(write, news):
        pass
    target.put(f"{prefix}{results_name}", content, content_type="application/octet-stream")
    gone = before.keys() - files.keys()
    # The list goes last but for what goes away: an export that was broken off is done again where it stopped.
    for file in gone:
        target.delete(f"{prefix}{file}")
    put_json(target, f"{prefix}{WRITTEN}", {file: row.digest for file, row in files.items()})
    return Exported(len(files), len(news), len(files) - len(news), len(gone), view.counts(standings))


def _goes(standing: Standing, *, required: bool) -> bool:
    return standing.state is State.APPROVED if required else standing.state is not State.REJECTED


def _result(
    row: ManifestRow, file: str, standings: Mapping[str, Standing], uri: Callable[[str], str]
) -> dict[str, str]:
    standing = standings.get(row.recipe_digest, NOTHING_SAID)
    made = row.status.has_picture
    return {
        "status": "made" if made else str(row.status),
        "file": file,
        "URL": uri(row.key) if made else "",
        "seed": "" if row.seed is None else str(row.seed),
        "verdict": f"{standing.state}{f': {standing.reason}' if standing.reason else ''}" if made else "",
        "error": row.error,
    }


def _written(target: ObjectStore, prefix: str) -> dict[str, str]:
    """The files of the last export that are still there, with the digest of each."""
    try:
        known: dict[str, str] = json.loads(target.get(f"{prefix}{WRITTEN}"))
    except (ObjectNotFoundError, ValueError):
        return {}
    there = {found.key.removeprefix(prefix) for found in target.list(prefix)}
    return {file: digest for file, digest in known.items() if file in there}

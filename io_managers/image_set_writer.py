"""Pulls a stream of rows, whose pictures are made meanwhile, and writes the manifest last of all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from io_managers.background import BackgroundPool
from io_managers.image_set import (
    ImageSet,
    ImageStream,
    ManifestRow,
    Status,
    encode_manifest,
    encode_table,
    last_image_set,
    manifest_key,
    superseded_key,
)
from io_managers.preview_sheet import MAX_TILES, contact_sheet_markdown
from io_managers.settling import Settled, settle
from models.errors import ImageGenXError
from models.recipe import Recipe
from resources.object_store import ObjectStore
from resources.progress import report_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

PARQUET = "application/vnd.apache.parquet"
SHOWN_REASONS = 5
_FILE_FIELDS = ("digest", "size_bytes", "width_px", "height_px", "spread", "fingerprint")


class NoPictureError(ImageGenXError):
    """Every row of a catalog failed, so there is nothing to hand on."""


@dataclass(frozen=True)
class WriteReport:
    """What a run did, for the metadata of its materialization.

    Attributes:
        manifest: object key of the manifest.
        rows: the rows it holds, in catalog order.
        seconds: "making" (waiting for rows) and "wall".
        contact_sheet: Markdown with an inline picture, or "".
    """

    manifest: str
    rows: list[ManifestRow]
    seconds: dict[str, float]
    contact_sheet: str


class ImageSetWriter:
    """Writes image sets; what stored files tell of kept pictures is read in the background.

    Pictures are stored before the manifest that names them, and under keys that say what they are, so a run that ends
    early leaves whole pictures for the next one and the previous manifest in place.

    Args:
        store: where pictures are and manifests go.
        workers: threads that read.
        queue: rows that may wait for them; bounds the memory in use.
    """

    def __init__(self, store: ObjectStore, *, workers: int, queue: int) -> None:
        self._store = store
        self._workers = workers
        self._queue = queue

    def write(self, asset: str, stream: ImageStream, settled: Callable[[Status], None] | None = None) -> WriteReport:
        """Pull every row from the stream, then write the manifest.

        Args:
            settled: is told what became of each row, as it comes.
        Raises:
            NoPictureError: if all rows failed, none of them by a moderator's verdict; nothing more is written.
            StoreError: if the store fails; no manifest is written.
        """
        began = time.perf_counter()
        report_pictures(asset, 0, stream.total)
        key = manifest_key(asset, stream.catalog)
        before = stream.last() if stream.last else last_image_set(self._store, asset, stream.catalog)
        previous = {row.key: row for row in before.rows() if row.key} if before else {}
        run = _Run(self._store, previous, frozenset(stream.row_ids[:MAX_TILES]))
        with closing(stream), BackgroundPool[Settled](self._workers, self._queue) as pool:
            for done, status in enumerate(run.settle(stream, pool), 1):
                report_pictures(asset, done, stream.total)
                if settled:
                    settled(status)
        rows = [run.rows[row_id] for row_id in stream.row_ids]
        _refuse_all_failed(asset, stream.catalog, rows)
        tiles = [run.tiles[row_id] for row_id in stream.row_ids if row_id in run.tiles]
        sheet = contact_sheet_markdown(tiles)
        withdrawn = _withdrawn(previous, rows)
        for rejected in withdrawn:
            self._store.delete(rejected)
        if before and previous.keys() - withdrawn - {row.key for row in rows}:
            self._supersede(asset, before)
        self._store.put(key, encode_manifest(rows), content_type=PARQUET)
        return WriteReport(key, rows, {"making": run.making_s, "wall": time.perf_counter() - began}, sheet)

    def _supersede(self, asset: str, before: ImageSet) -> None:
        """Keep a manifest whose pictures the new one drops, so that going back costs none for some days."""
        key = superseded_key(asset, before.catalog, time.time_ns())
        self._store.put(key, encode_table(before.manifest), content_type=PARQUET)


class _Run:
    """One pass over a stream; `rows` and `tiles` by row id."""

    def __init__(self, store: ObjectStore, previous: dict[str, ManifestRow], sampled: frozenset[str]) -> None:
        self.rows: dict[str, ManifestRow] = {}
        self.tiles: dict[str, Image] = {}
        self.making_s = 0.0
        self._store = store
        self._previous = previous
        self._sampled = sampled

    def settle(self, stream: ImageStream, pool: BackgroundPool[Settled]) -> Iterator[Status]:
        """Settle every row; yields what became of each."""
        for row in self._timed(stream.rows):
            with_tile = row.row_id in self._sampled
            yield from map(
                self._record,
                pool.submit(partial(settle, self._with_known_file(row), self._store, with_tile=with_tile)),
            )
        yield from map(self._record, pool.drain())

    def _timed(self, rows: Iterator[ManifestRow]) -> Iterator[ManifestRow]:
        while True:
            began = time.perf_counter()
            row = next(rows, None)
            self.making_s += time.perf_counter() - began
            if row is None:
                return
            yield row

    def _with_known_file(self, row: ManifestRow) -> ManifestRow:
        """A row whose file the last manifest knows needs no reading; one of another size has been replaced since."""
        known = self._previous.get(row.key)
        if row.digest or known is None or known.size_bytes != row.size_bytes:
            return row
        return replace(row, **_file_of(known))

    def _record(self, settled: Settled) -> Status:
        self.rows[settled.row.row_id] = settled.row
        if settled.tile:
            self.tiles[settled.row.row_id] = settled.tile
        return settled.row.status


def _file_of(row: ManifestRow) -> dict[str, Any]:
    """What a row says about its file alone, for another row with the same file."""
    return {name: getattr(row, name) for name in _FILE_FIELDS}


def _withdrawn(previous: Mapping[str, ManifestRow], rows: Collection[ManifestRow]) -> set[str]:
    """Keys of the last manifest's pictures that are, or were made of, one that a moderator rejects now."""
    rejected = {row.recipe for row in rows if row.status is Status.REJECTED and row.recipe}
    # A picture may be fine, and only what one row draws on it be not.
    rejected -= {_as_generated(row) for row in rows if row.status.has_picture} if rejected else set()
    texts = {Recipe.from_json(recipe).text for recipe in rejected}
    return {key for key, row in previous.items() if row.text in texts and _as_generated(row) in rejected}


def _as_generated(row: ManifestRow) -> str:
    """The recipe of a row's picture before any later stage, as JSON."""
    return Recipe.from_json(row.recipe).model_copy(update={"post": ()}).to_json()


def _refuse_all_failed(asset: str, catalog: str, rows: list[ManifestRow]) -> None:
    """A catalog that is rejected as a whole goes on: what it published before must go."""
    if any(row.status is not Status.FAILED for row in rows):
        return
    reasons = Counter(row.error for row in rows).most_common(SHOWN_REASONS)
    lines = [f"  {error} ({count} {'row' if count == 1 else 'rows'})" for error, count in reasons]
    raise NoPictureError("\n".join([f"all {len(rows)} rows of catalog '{catalog}' failed in {asset}:", *lines]))

"""Pulls a stream of rows, whose pictures are made meanwhile, and writes the manifest last of all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import (
    ImageSet,
    ImageStream,
    ManifestRow,
    Status,
    decode_manifest,
    last_image_set,
    manifest_key,
    superseded_key,
)
from io_managers.manifest_file import ManifestFile
from io_managers.preview_sheet import MAX_TILES, contact_sheet_markdown
from io_managers.settling import Settled, settle
from models.recipe import Recipe
from resources.object_store import ObjectStore
from resources.progress import report_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

PARQUET = "application/vnd.apache.parquet"
SHOWN_REASONS, SHOWN_ROWS, SHOWN_FAILURES = 5, 5, 20
_REASONS_KEPT = 1_000
_FILE_FIELDS = ("digest", "size_bytes", "width_px", "height_px", "spread", "fingerprint")


class NoPictureError(ImageGenXError):
    """Every row of a catalog failed, so there is nothing to hand on."""


@dataclass
class WriteReport:
    """What a run did, for the metadata of its materialization.

    Attributes:
        manifest: object key of the manifest.
        counts: rows by status.
        first: some of the rows, in the order of the catalog, and of those that `failed`.
        releases: of the models, by model.
        seconds: "making" (waiting for rows) and "wall".
        contact_sheet: Markdown with an inline picture, or "".
    """

    manifest: str
    counts: Counter[Status] = field(default_factory=Counter)
    first: list[ManifestRow] = field(default_factory=list)
    failed: list[ManifestRow] = field(default_factory=list)
    releases: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    contact_sheet: str = ""

    def count(self, row: ManifestRow) -> None:
        """Add what is told of the next row."""
        self.counts[row.status] += 1
        self.size_bytes += row.size_bytes
        if row.release:
            self.releases[row.model] = row.release
        if len(self.first) < SHOWN_ROWS:
            self.first.append(row)
        if not row.status.has_picture and len(self.failed) < SHOWN_FAILURES:
            self.failed.append(row)


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
        report = WriteReport(manifest_key(asset, stream.catalog))
        before = stream.last() if stream.last else last_image_set(self._store, asset, stream.catalog)
        run = _Run(self._store, before, stream.row_ids, report)
        with closing(stream), closing(run.settle(stream, self._workers, self._workers + self._queue)) as statuses:
            for done, status in enumerate(statuses, 1):
                report_pictures(asset, done, stream.total)
                if settled:
                    settled(status)
        _refuse_all_failed(asset, stream.catalog, report.counts, run.reasons)
        data = run.manifest.data()
        withdrawn = self._withdraw(before, data) if before and Status.REJECTED in report.counts else set()
        if before and run.dropped - withdrawn:
            # Its pictures go, so it is kept: going back costs none for some days.
            key = superseded_key(asset, stream.catalog, time.time_ns())
            self._store.put(key, self._store.get(report.manifest), content_type=PARQUET)
        self._store.put(report.manifest, data, content_type=PARQUET)
        report.seconds = {"making": run.making_s, "wall": time.perf_counter() - began}
        tiles = [run.tiles[row_id] for row_id in stream.row_ids[:MAX_TILES] if row_id in run.tiles]
        report.contact_sheet = contact_sheet_markdown(tiles)
        return report

    def _withdraw(self, before: ImageSet, data: bytes) -> set[str]:
        """Delete what the last manifest has of pictures that a moderator rejects now; returns the keys."""
        withdrawn = _withdrawn(before, replace(before, manifest=decode_manifest(data)))
        for rejected in withdrawn:
            self._store.delete(rejected)
        return withdrawn


class _Run:
    """One pass over a stream.

    Attributes:
        dropped: keys of the last manifest that no row has so far.
        reasons: why rows failed, while all did.
        tiles: by row id.
    """

    def __init__(
        self, store: ObjectStore, before: ImageSet | None, row_ids: Sequence[str], report: WriteReport
    ) -> None:
        self.manifest = ManifestFile(row_ids)
        self.tiles: dict[str, Image] = {}
        self.making_s = 0.0
        self.reasons: Counter[str] = Counter()
        keys = before.manifest.column("key").to_pylist() if before else []
        self._known = {key: place for place, key in enumerate(keys) if key}
        self.dropped = set(self._known)
        self._store, self._before, self._report = store, before, report
        self._sampled = frozenset(row_ids[:MAX_TILES])

    def settle(self, stream: ImageStream, threads: int, ahead: int) -> Generator[Status]:
        """Settle every row; yields what became of each."""

        def settled(row: ManifestRow) -> Settled:
            return settle(self._with_known_file(row), self._store, with_tile=row.row_id in self._sampled)

        rows = self._timed(stream.rows)
        yield from (self._record(one) for _, one in map_ahead(settled, rows, threads=threads, ahead=ahead))

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
        place = self._known.get(row.key)
        if row.digest or place is None or not self._before:
            return row
        known = self._before.row(place)
        if known.size_bytes != row.size_bytes:
            return row
        return replace(row, **{name: getattr(known, name) for name in _FILE_FIELDS})

    def _record(self, settled: Settled) -> Status:
        row = settled.row
        if settled.tile:
            self.tiles[row.row_id] = settled.tile
        if row.status is Status.FAILED and len(self.reasons) < _REASONS_KEPT:
            self.reasons[row.error] += 1
        self.dropped.discard(row.key)
        for placed in self.manifest.add(row):
            self._report.count(placed)
        return row.status


def _withdrawn(before: ImageSet, now: ImageSet) -> set[str]:
    """Keys of the last manifest's pictures that are, or were made of, one that a moderator rejects now."""
    rejected = {row.recipe for row in now.rows() if row.status is Status.REJECTED and row.recipe}
    # A picture may be fine, and only what one row draws on it be not.
    rejected -= {_as_generated(row) for row in now.rows() if row.status.has_picture} if rejected else set()
    texts = {Recipe.from_json(recipe).text for recipe in rejected}
    return {row.key for row in before.rows() if row.key and row.text in texts and _as_generated(row) in rejected}


def _as_generated(row: ManifestRow) -> str:
    """The recipe of a row's picture before any later stage, as JSON."""
    return Recipe.from_json(row.recipe).model_copy(update={"post": ()}).to_json()


def _refuse_all_failed(asset: str, catalog: str, counts: Counter[Status], reasons: Counter[str]) -> None:
    """A catalog that is rejected as a whole goes on: what it published before must go."""
    if counts.keys() - {Status.FAILED}:
        return
    shown = [
        f"  {error} ({count} {'row' if count == 1 else 'rows'})" for error, count in reasons.most_common(SHOWN_REASONS)
    ]
    raise NoPictureError("\n".join([f"all {counts.total()} rows of catalog '{catalog}' failed in {asset}:", *shown]))

"""Image sets: the stream an asset hands over, the manifest that is stored, the lazy view the next asset gets."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from models.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa
    from PIL.Image import Image

    from resources.object_store import ObjectStore

PICTURES, MANIFESTS, SUPERSEDED = "pictures/", "manifests/", "superseded/"
"""Where pictures, manifests and the manifests they replaced are, by prefix."""
ROWS_PER_BATCH = 512
MAX_STORED_PIXELS = 178_000_000
"""What Pillow decodes at most; stored pictures are our own, so the limit of input pictures is not theirs."""


class Status(StrEnum):
    """What a run did for one row."""

    MADE = "made"
    REUSED = "reused"
    PASSED = "passed"
    FAILED = "failed"
    REJECTED = "rejected"

    @property
    def has_picture(self) -> bool:
        """Whether the row has a picture."""
        return self not in (Status.FAILED, Status.REJECTED)


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row of a manifest: where a catalog row's picture is and how it came about.

    Attributes:
        row_id: the catalog row's id.
        status: made, reused (this step had made it before), passed (the row asks nothing of this step), failed, or
            rejected (by the moderator).
        key: object key of the picture; "" when failed.
        digest: SHA-256 of the file, hex; "" when failed.
        size_bytes: size of the file.
        width_px, height_px: size of the stored picture, after upscaling.
        format: format of the stored file: "webp", "png" or "jpg".
        seed, text, model, release: from the recipe; a row that failed before it had one has no seed and no release.
        recipe: the recipe as JSON; recipe_digest: its digest.
        seconds: time spent computing this picture in this step, summed over the picture's stages.
        error: why the row failed or was rejected, else "".
        post_process: what the row asks of later steps, as JSON of a `PostProcess`.
        spread, fingerprint: the `Look` of the stored file; 0 and "" in manifests of versions that did not look.
        moderated_by: the moderator that allowed the picture, with its version; "" if none was asked.
        verdict: what it saw, as JSON: `scores` by class, the `margin` to the nearest limit; "" if it tells nothing.
        carry: what the catalog lets travel along, as a JSON object of texts; "" if nothing.
    """

    row_id: str
    status: Status
    key: str = ""
    digest: str = ""
    size_bytes: int = 0
    width_px: int = 0
    height_px: int = 0
    format: str = ""
    seed: int | None = None
    text: str = ""
    model: str = ""
    release: str = ""
    recipe: str = ""
    recipe_digest: str = ""
    seconds: float = 0.0
    error: str = ""
    post_process: str = ""
    spread: float = 0.0
    fingerprint: str = ""
    moderated_by: str = ""
    verdict: str = ""
    carry: str = ""


@dataclass(frozen=True)
class ImageStream:
    """A catalog's rows, each once and in any order, whose pictures are made and stored as the rows are pulled.

    A row without a digest gets it from the last manifest or the stored file.

    Attributes:
        last: reads the asset's last manifest, for who has read it already.
    """

    catalog: str
    row_ids: Sequence[str]
    rows: Iterator[ManifestRow]
    last: ReadLast | None = None

    @property
    def total(self) -> int:
        """Number of rows."""
        return len(self.row_ids)

    def close(self) -> None:
        """End the computation of pictures that nobody will pull any more."""
        if isinstance(self.rows, Generator):
            self.rows.close()


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """One picture of an image set; reads the store when asked for its content."""

    row: ManifestRow
    store: ObjectStore

    def bytes(self) -> bytes:
        """The stored file."""
        return self.store.get(self.row.key)

    def image(self) -> Image:
        """The decoded picture, mode RGB. Raises PictureError when the stored file cannot be decoded."""
        from models.image import open_stored_picture

        return open_stored_picture(self.bytes(), MAX_STORED_PIXELS).convert("RGB")


@dataclass(frozen=True)
class ImageSet:
    """Lazy view over a manifest: the rows are in memory (as Arrow columns), the pictures are not.

    Iteration and `len` cover the rows that have a picture, in catalog order; `rows` the failed ones too.
    """

    catalog: str
    manifest: pa.Table
    store: ObjectStore

    @property
    def row_ids(self) -> list[str]:
        """Ids of all rows, in catalog order."""
        ids: list[str] = self.manifest.column("row_id").to_pylist()
        return ids

    def rows(self) -> Iterator[ManifestRow]:
        """All rows, failed ones included."""
        for batch in self.manifest.to_batches(ROWS_PER_BATCH):
            yield from map(_row, batch.to_pylist())

    def row(self, place: int) -> ManifestRow:
        """The row at this place of the catalog, from 0."""
        return _row(self.manifest.slice(place, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[StoredPicture]:
        return (StoredPicture(row, self.store) for row in self.rows() if row.status.has_picture)

    def __len__(self) -> int:
        return sum(Status(status).has_picture for status in self.manifest.column("status").to_pylist())


def _row(values: dict[str, Any]) -> ManifestRow:
    given = {name: value for name, value in values.items() if value is not None}
    return ManifestRow(**{**given, "status": Status(given["status"])})


ReadLast = Callable[[], ImageSet | None]


def read_image_set(store: ObjectStore, asset: str, catalog: str) -> ImageSet:
    """An asset's pictures of one catalog. Raises ObjectNotFoundError before its first run."""
    return ImageSet(catalog, decode_manifest(store.get(manifest_key(asset, catalog))), store)


def last_image_set(store: ObjectStore, asset: str, catalog: str) -> ImageSet | None:
    """As `read_image_set`; None before the asset's first run."""
    return read_image_set(store, asset, catalog) if store.stat(manifest_key(asset, catalog)) else None


def picture_key(recipe: Recipe, file_format: str) -> str:
    """Object key of the picture a recipe makes: the same recipe always has the same key."""
    return f"{PICTURES}{recipe.digest[:2]}/{recipe.digest}.{file_format}"


def manifest_key(asset: str, catalog: str) -> str:
    """Object key of an asset's manifest for one catalog."""
    return f"{MANIFESTS}{asset}/{catalog}.parquet"


def superseded_key(asset: str, catalog: str, time_ns: int) -> str:
    """Object key of the manifest that a newer one replaced at this time, without some of its pictures."""
    return f"{SUPERSEDED}{asset}/{catalog}/{time_ns}.parquet"


def manifest_table(rows: Sequence[ManifestRow]) -> pa.Table:
    """Rows as columns."""
    import pyarrow as pa

    columns = {name: [getattr(row, name) for row in rows] for name in manifest_schema().names}
    return pa.table(columns, schema=manifest_schema())


def encode_manifest(rows: Sequence[ManifestRow]) -> bytes:
    """Rows as a Parquet file."""
    import io

    import pyarrow.parquet as pq

    target = io.BytesIO()
    pq.write_table(manifest_table(rows), target, compression="zstd")
    return target.getvalue()


def decode_manifest(data: bytes) -> pa.Table:
    """The inverse of `encode_manifest`; columns that an older version did not write are null."""
    import pyarrow as pa

    table, schema = read_parquet(data), manifest_schema()
    columns = {
        field.name: table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    }
    return pa.table(columns, schema=schema)


def read_parquet(data: bytes) -> pa.Table:
    """The table in a Parquet file, read in this thread.

    pandas' and Arrow's own readers leave threads behind that may still let go of `data` while the interpreter ends,
    which aborts the process.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


@functools.cache
def manifest_schema() -> pa.Schema:
    """Names and types of the columns."""
    import pyarrow as pa

    types = {"size_bytes": pa.int64(), "width_px": pa.int32(), "height_px": pa.int32(), "seed": pa.int64()}
    types |= {"seconds": pa.float64(), "spread": pa.float64()}
    return pa.schema([(field.name, types.get(field.name, pa.string())) for field in dataclasses.fields(ManifestRow)])

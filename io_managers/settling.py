"""What becomes of one row, in a background thread: a picture is drawn, encoded and stored, or found stored already."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from foundation.error_text import error_text
from io_managers.image_set import (
    MAX_STORED_PIXELS,
    FailedPicture,
    KeptPicture,
    ManifestRow,
    NewPicture,
    Picture,
    Status,
    picture_key,
)
from io_managers.look import look_at
from io_managers.preview_sheet import make_tile
from models.encoding import CONTENT_TYPES, encode_picture, rgb_picture
from models.errors import ImageGenXError
from models.image import open_stored_picture
from resources.object_store import ObjectNotFoundError, ObjectStore, StoreError

if TYPE_CHECKING:
    from PIL.Image import Image

    from models.recipe import Recipe


@dataclass(frozen=True)
class Settled:
    """One row's outcome: its manifest row, its tile for the contact sheet, and seconds by stage."""

    row: ManifestRow
    tile: Image | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def settle(picture: Picture, store: ObjectStore, *, with_tile: bool) -> Settled:
    """Store a new picture, or complete the row of a kept one.

    A picture that cannot be drawn, encoded or read back fails its row and no other.

    Raises:
        StoreError: if the store itself fails.
    """
    try:
        match picture:
            case NewPicture():
                return _store(picture, store, with_tile=with_tile)
            case KeptPicture():
                return _keep(picture.row, store, with_tile=with_tile)
            case FailedPicture():
                return Settled(failed_row(picture, picture.error))
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return Settled(failed_row(picture, str(exc)))


def is_outage(error: ImageGenXError) -> bool:
    """Whether the store itself fails, which ends a run; any other error fails the row that met it."""
    return isinstance(error, StoreError) and not isinstance(error, ObjectNotFoundError)


def recipe_row(row_id: str, status: Status, recipe: Recipe, file_format: str, post_process: str) -> ManifestRow:
    """The manifest row of a recipe's picture, without what only the file tells."""
    row = _described(ManifestRow(row_id, status, post_process=post_process), recipe)
    return replace(row, key=picture_key(recipe, file_format), format=file_format)


def failed_row(picture: Picture, error: str) -> ManifestRow:
    """The manifest row of a picture that could not be made or kept."""
    error = error_text(error)
    if isinstance(picture, KeptPicture):
        return replace(picture.row, status=Status.FAILED, error=error, **_NO_FILE)
    row = ManifestRow(picture.row_id, Status.FAILED, error=error, post_process=picture.post_process)
    if isinstance(picture, FailedPicture):
        row = replace(row, status=picture.status, text=picture.text, model=picture.model)
    return _described(row, picture.recipe) if picture.recipe else row


_NO_FILE: dict[str, Any] = {
    **{"key": "", "digest": "", "size_bytes": 0, "width_px": 0, "height_px": 0, "format": ""},
    **{"spread": 0.0, "fingerprint": "", "moderated_by": ""},
}


def _store(picture: NewPicture, store: ObjectStore, *, with_tile: bool) -> Settled:
    seconds: dict[str, float] = {}
    with _timed(seconds, "draw"):
        image = rgb_picture(picture.pixels() if callable(picture.pixels) else picture.pixels)
        tile = make_tile(image) if with_tile else None
    with _timed(seconds, "encode"):
        data = encode_picture(image, picture.format, picture.quality, picture.recipe if picture.embed else None)
        stored = open_stored_picture(data, MAX_STORED_PIXELS)
    row = recipe_row(picture.row_id, Status.MADE, picture.recipe, picture.format, picture.post_process)
    with _timed(seconds, "upload"):
        store.put(row.key, data, content_type=CONTENT_TYPES[picture.format])
    computed_s = picture.seconds + (seconds["draw"] if callable(picture.pixels) else 0.0)
    row = replace(_with_file(row, data, stored), seconds=computed_s, moderated_by=picture.moderated_by)
    return Settled(row, tile, seconds)


def _keep(row: ManifestRow, store: ObjectStore, *, with_tile: bool) -> Settled:
    if not row.status.has_picture or (row.digest and not with_tile):
        return Settled(row)
    data = store.get(row.key)
    image = open_stored_picture(data, MAX_STORED_PIXELS)
    return Settled(row if row.digest else _with_file(row, data, image), make_tile(image) if with_tile else None)


def _described(row: ManifestRow, recipe: Recipe) -> ManifestRow:
    return replace(
        row,
        seed=recipe.seed,
        text=recipe.text,
        model=recipe.model,
        release=recipe.release,
        recipe=recipe.to_json(),
        recipe_digest=recipe.digest,
    )


def _with_file(row: ManifestRow, data: bytes, image: Image) -> ManifestRow:
    look, digest = look_at(image), hashlib.sha256(data).hexdigest()
    return replace(
        row,
        digest=digest,
        size_bytes=len(data),
        width_px=image.width,
        height_px=image.height,
        spread=look.spread,
        fingerprint=look.fingerprint,
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began

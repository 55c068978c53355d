"""Rows of a manifest: made of a recipe, failed, or completed by what their stored files tell."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from foundation.error_text import error_text
from foundation.errors import ImageGenXError
from io_managers.image_set import MAX_STORED_PIXELS, ManifestRow, Status, picture_key
from io_managers.look import look_at
from io_managers.preview_sheet import make_tile
from models.image import open_stored_picture
from resources.object_store import ObjectNotFoundError, ObjectStore, StoreError

if TYPE_CHECKING:
    from PIL.Image import Image

    from models.recipe import Recipe


@dataclass(frozen=True)
class Settled:
    """A row that is complete, and its tile for the contact sheet."""

    row: ManifestRow
    tile: Image | None = None


def settle(row: ManifestRow, store: ObjectStore, *, with_tile: bool) -> Settled:
    """Complete a row, reading its file only if that is needed.

    A picture that cannot be read back fails its row and no other.

    Raises:
        StoreError: if the store itself fails.
    """
    if not row.status.has_picture or (row.digest and not with_tile):
        return Settled(row)
    try:
        data = store.get(row.key)
        image = open_stored_picture(data, MAX_STORED_PIXELS)
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return Settled(failed_row(row, str(exc)))
    return Settled(row if row.digest else _with_file(row, data, image), make_tile(image) if with_tile else None)


def is_outage(error: ImageGenXError) -> bool:
    """Whether the store itself fails, which ends a run; any other error fails the row that met it."""
    return isinstance(error, StoreError) and not isinstance(error, ObjectNotFoundError)


def new_row(of: ManifestRow, status: Status) -> ManifestRow:
    """The row of a catalog's row anew: what the catalog says of it, and nothing of a picture."""
    return ManifestRow(of.row_id, status, post_process=of.post_process, verdict=of.verdict, carry=of.carry)


def recipe_row(of: ManifestRow, status: Status, recipe: Recipe, file_format: str) -> ManifestRow:
    """The manifest row of a recipe's picture, for the same row of the catalog, without what only the file tells."""
    row = with_recipe(new_row(of, status), recipe)
    return replace(row, key=picture_key(recipe, file_format), format=file_format)


def failed_row(row: ManifestRow, error: str, status: Status = Status.FAILED) -> ManifestRow:
    """The row of a picture that could not be made or kept, and why."""
    return replace(row, status=status, error=error_text(error), **_NO_FILE)


def with_recipe(row: ManifestRow, recipe: Recipe) -> ManifestRow:
    """The row with what it says of its recipe."""
    return replace(
        row,
        seed=recipe.seed,
        text=recipe.text,
        model=recipe.model,
        release=recipe.release,
        recipe=recipe.to_json(),
        recipe_digest=recipe.digest,
    )


_NO_FILE: dict[str, Any] = {
    **{"key": "", "digest": "", "size_bytes": 0, "width_px": 0, "height_px": 0, "format": "", "seconds": 0.0},
    **{"spread": 0.0, "fingerprint": "", "moderated_by": "", "verdict": ""},
}


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

"""Whether the files of a manifest are stored, whole, and say where they come from."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foundation.map_ahead import map_ahead
from io_managers.image_set import MAX_STORED_PIXELS, ImageSet, ManifestRow, Status
from models.encoding import RecipeNotFoundError, read_recipe
from models.errors import PictureError
from models.image import open_stored_picture
from ops.checks.outcome import Outcome, Problem
from ops.checks.sampling import sample_rows
from resources.object_store import ObjectNotFoundError

if TYPE_CHECKING:
    from resources.object_store import StoredObject

_OWN = (Status.MADE, Status.REUSED)
"""What a row is whose picture this stage has made."""
REMEDY = "Run `imagegenx store verify --heal`, then materialize the catalog again: only these pictures are made again."


def check_files(images: ImageSet, *, sample: int, with_recipes: bool = True) -> Outcome:
    """Find every picture of this stage in the store, and open a sample of them.

    Pictures that only passed this stage were found when the stage was checked that made them.

    Args:
        sample: how many pictures are read: their digest, size and embedded recipe must be those of the manifest.
        with_recipes: whether files carry their recipe; thumbnails do not.
    """
    missing = {problem.row_id: problem for problem in _missing(images)}
    opened = list(sample_rows(images, sample, lambda row: row.row_id not in missing))
    damaged = {row.row_id: _damage(images, row, with_recipes=with_recipes) for row in opened}
    problems = [*missing.values(), *(Problem(row_id, what) for row_id, what in damaged.items() if what)]
    return Outcome(_stored_here(images), problems, REMEDY)


def _stored_here(images: ImageSet) -> int:
    return sum(Status(status) in _OWN for status in images.manifest.column("status").to_pylist())


def _missing(images: ImageSet) -> Iterator[Problem]:
    rows = (row for row in images.rows() if row.status in _OWN)

    def find(row: ManifestRow) -> "StoredObject | None":
        return images.store.stat(row.key)

    for row, stored in map_ahead(find, rows):
        if stored is None:
            yield Problem(row.row_id, f"'{row.key}' is not in the store")
        elif stored.size_bytes != row.size_bytes:
            yield Problem(row.row_id, f"'{row.key}' has {stored.size_bytes:,} bytes, not {row.size_bytes:,}")


def _damage(images: ImageSet, row: ManifestRow, *, with_recipes: bool) -> str:
    try:
        data = images.store.get(row.key)
    except ObjectNotFoundError:
        return f"'{row.key}' is not in the store"
    if hashlib.sha256(data).hexdigest() != row.digest:
        return f"'{row.key}' is not the file that was stored: its SHA-256 differs"
    try:
        size = open_stored_picture(data, MAX_STORED_PIXELS).size
        recipe = read_recipe(data).to_json() if with_recipes else row.recipe
    except (PictureError, RecipeNotFoundError) as exc:
        return f"'{row.key}': {exc}"
    if size != (row.width_px, row.height_px):
        return f"'{row.key}' is {size[0]}×{size[1]} px, not {row.width_px}×{row.height_px}"
    return "" if recipe == row.recipe else f"'{row.key}' carries another recipe than the manifest"

"""Derivation: the pictures of one asset become those of the next, row by row."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from io_managers.image_set import (
    FailedPicture,
    ImageSet,
    ImageStream,
    KeptPicture,
    ManifestRow,
    NewPicture,
    Picture,
    Status,
    StoredPicture,
    picture_key,
)
from io_managers.reuse import Reuse
from io_managers.settling import is_outage, recipe_row
from models.errors import ImageGenXError
from models.recipe import Recipe
from models.request import ImageFormat, PostProcess
from ops.map_ahead import map_ahead
from ops.stages import Change, Stage
from resources.object_store import StoredObject

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A row and what is to be done with its picture; no `change` means that there is nothing to do, or no way to."""

    row: ManifestRow
    change: Change | None = None
    recipe: Recipe | None = None
    format: ImageFormat = "png"
    error: str = ""

    @property
    def key(self) -> str:
        """The object key of the changed picture; "" if the picture is not changed."""
        return picture_key(self.recipe, self.format) if self.recipe else ""


def derive_images(images: ImageSet, stage: Stage, reuse: Reuse | None = None) -> ImageStream:
    """Take every picture through a stage, as the stream is pulled.

    A row that asks nothing of the stage passes with its key, without a copy; one whose changed picture is stored
    already is kept; a row that failed before stays failed, and one that fails here fails alone.

    Args:
        reuse: how stored pictures of the asset being made are found; None simply looks.
    """
    find = reuse.find if reuse else images.store.stat
    return ImageStream(images.catalog, images.row_ids, _changed(images, stage, find))


def _changed(images: ImageSet, stage: Stage, find: Callable[[str], StoredObject | None]) -> Iterator[Picture]:
    claimed: set[str] = set()

    def stored_file(planned: PlannedChange) -> StoredObject | None:
        return find(planned.key) if planned.key else None

    for planned, stored in map_ahead(stored_file, (_plan(row, stage) for row in images.rows())):
        row = planned.row
        if planned.error:
            yield _failed(planned, planned.error)
        elif planned.recipe is None or planned.change is None:
            yield KeptPicture(replace(row, status=Status.PASSED, seconds=0.0) if row.status.has_picture else row)
        elif stored or planned.key in claimed:
            kept = recipe_row(row.row_id, Status.REUSED, planned.recipe, planned.format, row.post_process)
            yield KeptPicture(replace(kept, size_bytes=stored.size_bytes if stored else 0))
        else:
            picture = _make(planned, images, stage)
            if isinstance(picture, NewPicture):
                claimed.add(planned.key)
            yield picture


def _plan(row: ManifestRow, stage: Stage) -> PlannedChange:
    if not row.status.has_picture:
        return PlannedChange(row)
    post = PostProcess.model_validate_json(row.post_process)
    try:
        change = stage.plan(post)
    except ImageGenXError as exc:
        return PlannedChange(row, error=str(exc))
    if change is None:
        return PlannedChange(row)
    return PlannedChange(row, change, Recipe.from_json(row.recipe).with_step(change.step), stage.format(post))


def _make(planned: PlannedChange, images: ImageSet, stage: Stage) -> Picture:
    """The changed picture: computed now, or a function that a background thread calls."""
    assert planned.change
    assert planned.recipe
    picture = StoredPicture(planned.row, images.store)
    apply = planned.change.apply

    def changed() -> "Image":
        return apply(picture.image())

    new = NewPicture(
        planned.row.row_id,
        changed,
        planned.recipe,
        planned.format,
        stage.quality,
        planned.row.post_process,
        embed=stage.embed,
    )
    return new if stage.in_background else _computed(new, planned)


def _computed(new: NewPicture, planned: PlannedChange) -> Picture:
    began = time.perf_counter()
    assert callable(new.pixels)
    try:
        pixels = new.pixels()
    except ImageGenXError as exc:
        if is_outage(exc):
            raise
        return _failed(planned, str(exc))
    return replace(new, pixels=pixels, seconds=time.perf_counter() - began)


def _failed(planned: PlannedChange, error: str) -> FailedPicture:
    row = planned.row
    recipe = planned.recipe or Recipe.from_json(row.recipe)
    return FailedPicture(row.row_id, error, row.text, row.model, recipe, row.post_process)

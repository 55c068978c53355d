"""Derivation: the pictures of one asset become those of the next, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import ImageSet, ImageStream, ManifestRow, Status, picture_key
from io_managers.reuse import Reuse
from io_managers.settling import failed_row, new_row, recipe_row
from models.picture_job import PictureJob
from models.recipe import Recipe
from models.request import PostProcess
from ops.finish import Finisher
from ops.making import PictureMaker, Wanted, made_rows
from ops.making.in_process import ChangeMaker
from ops.stages import Stage
from resources.object_store import StoredObject


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """A row and what is to be done with its picture; without a `job` it is done with, as `row` says."""

    row: ManifestRow
    job: PictureJob | None = None


def derive_images(
    images: ImageSet, stage: Stage, reuse: Reuse | None = None, maker: PictureMaker | None = None
) -> ImageStream:
    """Take every picture through a stage, as the stream is pulled.

    A row that asks nothing of the stage passes with its key, without a copy; one whose changed picture is stored
    already is kept; a row that failed before stays failed, and one that fails here fails alone.

    Args:
        reuse: how stored pictures of the asset being made are found; None simply looks.
        maker: who changes the pictures; None does it in this process.
    """
    finisher = Finisher(images.store, marker=stage.marker, threads=stage.threads)
    maker = maker or ChangeMaker(stage.redo, finisher, threads=stage.threads)
    return ImageStream(images.catalog, images.row_ids, made_rows(_rows(images, stage, reuse), maker))


def _rows(images: ImageSet, stage: Stage, reuse: Reuse | None) -> Iterator[ManifestRow | Wanted]:
    find = reuse.find if reuse else images.store.stat
    made_after_s = reuse.made_after_s if reuse else 0.0

    def stored_file(planned: PlannedChange) -> StoredObject | None:
        job = planned.job
        return find(picture_key(job.recipe, job.format)) if job else None

    for planned, stored in map_ahead(stored_file, (_plan(row, stage) for row in images.rows())):
        row, job = planned.row, planned.job
        if job is None:
            yield row
        elif stored:
            kept = recipe_row(row, Status.REUSED, job.recipe, job.format)
            yield replace(kept, size_bytes=stored.size_bytes)
        else:
            again = job.model_copy(update={"made_after_s": made_after_s})
            yield Wanted(new_row(row, Status.MADE), again)


def _plan(row: ManifestRow, stage: Stage) -> PlannedChange:
    if not row.status.has_picture:
        return PlannedChange(row)
    post = PostProcess.model_validate_json(row.post_process)
    try:
        changes = stage.changes(post, max(row.width_px, row.height_px))
    except ImageGenXError as exc:
        return PlannedChange(failed_row(row, str(exc)))
    if not changes:
        return PlannedChange(replace(row, status=Status.PASSED, seconds=0.0))
    recipe = Recipe.from_json(row.recipe)
    for change in changes:
        recipe = recipe.with_step(change.step)
    job = PictureJob(
        recipe=recipe,
        format=stage.format(post),
        quality=stage.quality,
        embed=stage.embed,
        source_key=row.key,
        steps=len(changes),
    )
    return PlannedChange(row, job)

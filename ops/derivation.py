"""Derivation: the pictures of one asset become those of the next, row by row."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import ImageSet, ImageStream, ManifestRow, Status, picture_key
from io_managers.reuse import Reuse
from io_managers.settling import failed_row, new_row, recipe_row
from models.picture_job import PictureJob
from models.recipe import Recipe
from models.request import PostProcess
from ops.finish import Finisher
from ops.making.in_process import ChangeMaker
from ops.making.maker import PictureMaker, Wanted, made_rows
from ops.stages import Stage
from resources.object_store import StoredObject


def derive_images(images: ImageSet, stage: Stage, reuse: Reuse, maker: PictureMaker | None = None) -> ImageStream:
    """Take every picture through a stage, as the stream is pulled.

    A row that asks nothing of the stage passes with its key, without a copy; one whose changed picture is stored
    already is kept; a row that failed before stays failed, and one that fails here fails alone.

    Args:
        reuse: how stored pictures of the asset being made are found.
        maker: who changes the pictures; None does it in this process.
    """
    finisher = Finisher(images.store, marker=stage.marker, threads=stage.threads)
    maker = maker or ChangeMaker(stage.redo, finisher, threads=stage.threads)
    planned = (_planned(row, stage, reuse.made_after_s) for row in images.rows())
    return ImageStream(images.catalog, images.row_ids, made_rows(_unless_stored(planned, reuse), maker), reuse.last)


def _unless_stored(planned: Iterable[ManifestRow | Wanted], reuse: Reuse) -> Iterator[ManifestRow | Wanted]:
    def find(row: ManifestRow | Wanted) -> StoredObject | None:
        return reuse.find(picture_key(row.job.recipe, row.job.format)) if isinstance(row, Wanted) else None

    for row, stored in map_ahead(find, planned):
        if stored and isinstance(row, Wanted):
            kept = recipe_row(row.row, Status.REUSED, row.job.recipe, row.job.format)
            yield replace(kept, size_bytes=stored.size_bytes)
        else:
            yield row


def _planned(row: ManifestRow, stage: Stage, made_after_s: float) -> ManifestRow | Wanted:
    """A row with what is to be done with its picture; alone if that is nothing."""
    if not row.status.has_picture:
        return row
    post = PostProcess.model_validate_json(row.post_process)
    try:
        changes = stage.changes(post, max(row.width_px, row.height_px))
    except ImageGenXError as exc:
        return failed_row(row, str(exc))
    if not changes:
        return replace(row, status=Status.PASSED, seconds=0.0)
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
        made_after_s=made_after_s,
    )
    return Wanted(new_row(row, Status.MADE), job)

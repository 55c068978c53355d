"""Finishing: a generated picture is changed as its request asks, encoded and stored, with its thumbnail."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.settings import Settings
from foundation.logs import with_log_ids
from io_managers.image_set import MAX_STORED_PIXELS
from io_managers.preview_sheet import make_tile
from models.encoding import CONTENT_TYPES, RecipeNotFoundError, encode_picture, read_recipe, rgb_picture
from models.errors import PictureError
from models.image import GeneratedImage, open_stored_picture
from models.request import ImageFormat, PostProcess
from ops.moderation import Moderation, PictureRejectedError, open_moderation
from ops.serving.patience import Patience
from ops.serving.planning import PlannedPicture, finished_size
from ops.stages import Change
from ops.thumbnail import make_thumbnail
from resources.audit import AuditEvent, open_audit
from resources.object_store import ObjectNotFoundError, ObjectStore
from resources.queue import Task, TaskPicture, keys

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAIL_FORMAT: ImageFormat = "webp"

Seconds = dict[str, float]


@dataclass(frozen=True)
class FinishedPicture:
    """A picture whose two files are stored, the seconds that took by stage, and its tile for a contact sheet."""

    picture: TaskPicture
    seconds: Seconds
    tile: "Image | None" = None


class Finisher:
    """Finishes pictures, from several threads at once."""

    def __init__(self, settings: Settings, store: ObjectStore, patience: Patience) -> None:
        self._pictures = settings.pictures
        self._moderation = open_moderation(settings.checks, store)
        self._audit = open_audit(settings)
        self._store = store
        self._patience = patience
        self._upscaling = threading.Lock()
        # A thumbnail is made and stored while its original is.
        self._beside = ThreadPoolExecutor(settings.serving.finishing_workers, thread_name_prefix="thumbnails")

    def finish(
        self, task: Task, post: PostProcess, planned: PlannedPicture, generated: GeneratedImage, *, with_tile: bool
    ) -> FinishedPicture:
        """Store the picture and its thumbnail under the keys that are theirs however often this is done.

        Raises:
            ImageGenXError: if the picture cannot be changed or encoded as asked, or is rejected by the moderator.
            StoreError: if the store refuses.
            OutageError: if the store stays away.
            HandOverError: if the serving run ends first.
        """
        seconds = dict(generated.seconds)
        image = rgb_picture(generated.pixels)
        if self._moderation:
            with _timed(seconds, "moderate"):
                self._review(self._moderation, task, post, planned, image)
        for change in planned.changes:
            with _timed(seconds, change.step.op):
                image = self._apply(change, image)
        key = keys.original_key(task, planned.n, image.width, image.height, post.format)
        thumb = self._beside.submit(with_log_ids(self._store_thumbnail), task, planned, image, key)
        with _timed(seconds, "encode"):
            data = encode_picture(image, post.format, self._pictures.original_quality, planned.recipe)
        with _timed(seconds, "store"):
            self._put(key, data, post.format)
            thumb_key = thumb.result()
        picture = _picture(planned, post, key, thumb_key, image, len(data))
        return FinishedPicture(picture, seconds, make_tile(image) if with_tile else None)

    def stored(self, task: Task, post: PostProcess, planned: PlannedPicture) -> FinishedPicture | None:
        """The picture, if a worker that died had stored it before; None if it must be generated."""
        size = finished_size(planned.job.recipe, post)
        key = keys.original_key(task, planned.n, size.width_px, size.height_px, post.format)
        seconds: Seconds = {}
        with _timed(seconds, "store"):
            try:
                data = self._patience.until_it_works(lambda: self._store.get(key))
                if read_recipe(data) != planned.recipe:
                    return None
                image = open_stored_picture(data, MAX_STORED_PIXELS)
            except (ObjectNotFoundError, RecipeNotFoundError, PictureError):
                return None
            thumb = self._store_thumbnail(task, planned, image, key)
        return FinishedPicture(_picture(planned, post, key, thumb, image, len(data)), seconds)

    def _review(
        self, moderation: Moderation, task: Task, post: PostProcess, planned: PlannedPicture, image: "Image"
    ) -> None:
        recipe = planned.job.recipe
        size = finished_size(recipe, post)
        key = keys.original_key(task, planned.n, size.width_px, size.height_px, post.format)
        try:
            self._patience.until_it_works(lambda: moderation.review(key, image, recipe))
        except PictureRejectedError:
            self._audit.record(AuditEvent.PICTURE_REJECTED, moderation.stamp, task=task.id, user=task.owner, key=key)
            raise

    def _apply(self, change: Change, image: "Image") -> "Image":
        # Each upscaling takes the whole of the device.
        with self._upscaling if change.step.op == "upscale" else nullcontext():
            return change.apply(image)

    def _store_thumbnail(self, task: Task, planned: PlannedPicture, image: "Image", original: str) -> str:
        thumbnail = make_thumbnail(image, self._pictures.thumbnail_px)
        data = encode_picture(thumbnail, THUMBNAIL_FORMAT, self._pictures.thumbnail_quality, None)
        key = keys.thumb_key(task, planned.n, thumbnail.width, thumbnail.height, original)
        self._put(key, data, THUMBNAIL_FORMAT)
        return key

    def _put(self, key: str, data: bytes, file_format: ImageFormat) -> None:
        content_type = CONTENT_TYPES[file_format]
        self._patience.until_it_works(lambda: self._store.put(key, data, content_type=content_type))


def _picture(
    planned: PlannedPicture, post: PostProcess, key: str, thumb: str, image: "Image", size_bytes: int
) -> TaskPicture:
    return TaskPicture(
        original_key=key,
        thumb_key=thumb,
        width_px=image.width,
        height_px=image.height,
        format=post.format,
        size_bytes=size_bytes,
        seed=planned.recipe.seed,
        recipe=planned.recipe.to_json(),
    )


@contextmanager
def _timed(seconds: Seconds, stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began

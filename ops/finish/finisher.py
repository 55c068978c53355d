"""The one way in which a picture is finished, from its pixels to its file in the store."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

from foundation.logs import with_log_ids
from io_managers.image_set import MAX_STORED_PIXELS
from io_managers.look import Look, look_at
from io_managers.preview_sheet import make_tile
from models.encoding import CONTENT_TYPES, RecipeNotFoundError, encode_picture, read_recipe, rgb_picture
from models.errors import PictureError
from models.image import open_stored_picture
from models.recipe import Recipe
from models.request import ImageFormat
from models.statement import MarkError, mark_step
from ops.marking import Marker
from ops.moderation import NOBODY, Allowed, Moderation, ModerationError, PictureRejectedError
from ops.stages import Change
from ops.thumbnail import make_thumbnail
from resources.mark_records import record_of
from resources.object_store import ObjectNotFoundError, ObjectStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = Image | NDArray[np.uint8]

THUMBNAIL_FORMAT: ImageFormat = "webp"

Answer = TypeVar("Answer")
Seconds = dict[str, float]


class Calls(Protocol):
    """How the store is called: at once, or again and again while it is away."""

    def __call__(self, call: Callable[[], Answer]) -> Answer:
        """What the call returns."""
        ...


def at_once(call: Callable[[], Answer]) -> Answer:
    """See `Calls`: an outage is the caller's."""
    return call()


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a picture that does not fit its box; `key` is its object key by its width and height in px."""

    key: Callable[[int, int], str]
    side_px: int
    quality: int


@dataclass(frozen=True)
class PicturePlan:
    """What becomes of a picture.

    Attributes:
        key: object key of its file.
        generated: the recipe of what is given to the finisher, which a moderator is told.
        changes: made to it, in this order.
        embed: write the recipe into the file.
        moderate: a moderator must allow it, before it is changed.
        thumbnail: what is stored beside it as its thumbnail, if it is to have one.
        owner, name: whose picture it is, and what its record is called, if it is marked.
        inputs: read the files of its input pictures.
        with_look, with_tile: whether the file's `Look`, and a tile for a contact sheet, are wanted.
    """

    key: str
    generated: Recipe
    format: ImageFormat
    quality: int
    changes: tuple[Change, ...] = ()
    embed: bool = True
    moderate: bool = False
    thumbnail: Thumbnail | None = None
    with_look: bool = False
    with_tile: bool = False
    owner: str = ""
    name: str = "catalog"
    inputs: tuple[Callable[[], bytes], ...] = ()

    @property
    def embeds(self) -> bool:
        """Whether the file holds its recipe: unless it is not to, or the policy of marks keeps prompts back."""
        step = mark_step(self.recipe)
        return self.embed and (step is None or bool(step.params["prompts"]))

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the finished picture."""
        recipe = self.generated
        for change in self.changes:
            recipe = recipe.with_step(change.step)
        return recipe


@dataclass(frozen=True)
class FinishedPicture:
    """A picture whose files are stored.

    Attributes:
        digest: SHA-256 of its file, hex.
        seconds: spent by stage; those that the picture came with among them.
        allowed: by whom, if a moderator was asked.
        reused: it was stored before.
    """

    plan: PicturePlan
    digest: str
    size_bytes: int
    width_px: int
    height_px: int
    seconds: Seconds
    thumb_key: str = ""
    look: Look | None = None
    tile: "Image | None" = None
    allowed: Allowed = NOBODY
    reused: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all that is stored of it: its files, and the record that its invisible mark leads to."""
        return tuple(filter(None, (self.plan.key, self.thumb_key, record_of(self.plan.recipe, self.plan.name))))


class Finisher:
    """Finishes pictures, from several threads at once.

    Args:
        moderation: who is asked where a plan wants a moderator.
        calls: how the store is called.
        marker: writes the marks that recipes name; without it, a recipe that names any is refused.
        threads: so many pictures are finished at a time; record and thumbnail of each are stored while it is encoded.
    """

    def __init__(
        self,
        store: ObjectStore,
        moderation: Moderation | None = None,
        *,
        calls: Calls = at_once,
        marker: Marker | None = None,
        threads: int = 1,
    ) -> None:
        self.store = store
        self.moderation = moderation
        self.marker = marker
        self._calls = calls
        self._upscaling = threading.Lock()
        self._beside = ThreadPoolExecutor(2 * threads, thread_name_prefix="beside")

    def finish(self, plan: PicturePlan, pixels: "Pixels", seconds: Seconds | None = None) -> FinishedPicture:
        """Store the picture under the key that is its own however often this is done.

        Raises:
            PictureRejectedError: if the moderator rejects it; it is in quarantine then.
            ImageGenXError: if it cannot be judged, changed or encoded as asked.
            StoreError: if the store fails; or what `calls` makes of that.
        """
        seconds = dict(seconds or {})
        image = rgb_picture(pixels)
        with _timed(seconds, "moderate") if plan.moderate else nullcontext():
            allowed = self._review(plan, image)
        for change in plan.changes:
            with _timed(seconds, change.step.op):
                image = self._changed(change, image)
        record = self._beside.submit(with_log_ids(self._keep_record), plan)
        thumb = self._beside.submit(with_log_ids(self._thumbnail), plan, image)
        with _timed(seconds, "encode"):
            data = self._file(plan, image, plan.format, plan.quality, embed=plan.embed)
            finished = _described(plan, data, image, seconds)
        with _timed(seconds, "store"):
            record.result()
            self._put(plan.key, data, plan.format)
            thumb_key = thumb.result()
        return replace(finished, thumb_key=thumb_key, allowed=allowed)

    def find(self, plan: PicturePlan, *, made_after_s: float = 0.0) -> FinishedPicture | None:
        """The picture, if it is stored already, after this time; None if it must be made. Raises what `finish` does.

        One that a moderator must allow is reviewed again, unless it was changed since: then it was reviewed before. One
        that this moderator rejected is not to be made again.
        """
        seconds: Seconds = {}
        with _timed(seconds, "store"):
            try:
                if made_after_s and self._is_older(plan.key, made_after_s):
                    return None
                data = self._calls(lambda: self.store.get(plan.key))
                if plan.embeds and read_recipe(data) != plan.recipe:
                    return None
                image = open_stored_picture(data, MAX_STORED_PIXELS)
            except ObjectNotFoundError:
                self._refuse_rejected(plan)
                return None
            except (RecipeNotFoundError, PictureError):
                return None
            allowed = NOBODY if plan.changes else self._review(plan, image)
            thumb_key = self._thumbnail(plan, image)
        found = _described(plan, data, image, seconds)
        return replace(found, thumb_key=thumb_key, allowed=allowed, reused=True)

    def _is_older(self, key: str, time_s: float) -> bool:
        stored = self._calls(lambda: self.store.stat(key))
        return stored is not None and stored.written_s <= time_s

    def _review(self, plan: PicturePlan, image: "Image") -> Allowed:
        if not plan.moderate:
            return NOBODY
        moderation = self.moderation
        if moderation is None:
            raise ModerationError("a moderator must allow the picture, but checks.moderation names none here.")
        return self._calls(lambda: moderation.review(plan.key, image, plan.generated))

    def _refuse_rejected(self, plan: PicturePlan) -> None:
        moderation = self.moderation if plan.moderate else None
        if moderation and (reason := self._calls(lambda: moderation.known_rejection(plan.key))):
            raise PictureRejectedError(reason)

    def _changed(self, change: Change, image: "Image") -> "Image":
        # Each upscaling takes the whole of the device.
        with self._upscaling if change.step.op == "upscale" else nullcontext():
            return change.apply(image)

    def _thumbnail(self, plan: PicturePlan, image: "Image") -> str:
        """Store it; its key, which is the picture's own where that fits, or "" where none is wanted."""
        if plan.thumbnail is None or max(image.size) <= plan.thumbnail.side_px:
            return plan.key if plan.thumbnail else ""
        small = make_thumbnail(image, plan.thumbnail.side_px)
        data = self._file(plan, small, THUMBNAIL_FORMAT, plan.thumbnail.quality, embed=False)
        key = plan.thumbnail.key(small.width, small.height)
        self._put(key, data, THUMBNAIL_FORMAT)
        return key

    def _file(
        self,
        plan: PicturePlan,
        image: "Image",
        file_format: ImageFormat,
        quality: int,
        *,
        embed: bool,
    ) -> bytes:
        if self.marker is None:
            if mark_step(plan.recipe):
                raise MarkError("the picture is to be marked, and nothing here can do that.")
            return encode_picture(image, file_format, quality, plan.recipe if embed else None)
        inputs = [self._calls(read) for read in plan.inputs]
        return self.marker.encode(image, file_format, quality, plan.recipe, embed=embed, inputs=inputs)

    def _keep_record(self, plan: PicturePlan) -> None:
        """Before the picture is there: none is without. A small copy leads to the record of the whole."""
        marker, recipe = self.marker, plan.recipe
        if marker and recipe.post and recipe.post[-1].op == "mark":
            self._calls(lambda: marker.keep(self.store, recipe, plan.key, plan.owner, plan.name))

    def _put(self, key: str, data: bytes, file_format: ImageFormat) -> None:
        self._calls(lambda: self.store.put(key, data, content_type=CONTENT_TYPES[file_format]))


def _described(plan: PicturePlan, data: bytes, image: "Image", seconds: Seconds) -> FinishedPicture:
    """What the file is; a look is taken of what readers of the file will see."""
    return FinishedPicture(
        plan,
        hashlib.sha256(data).hexdigest(),
        len(data),
        image.width,
        image.height,
        seconds,
        look=look_at(open_stored_picture(data, MAX_STORED_PIXELS)) if plan.with_look else None,
        tile=make_tile(image) if plan.with_tile else None,
    )


@contextmanager
def _timed(seconds: Seconds, stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began

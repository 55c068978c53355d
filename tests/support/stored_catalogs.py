"""Catalogs in a store, written by the real writer, without an engine."""

import os
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from io_managers.image_set import ImageStream, ManifestRow, Status, read_image_set
from io_managers.image_set_writer import ImageSetWriter
from io_managers.reuse import Reuse
from models.picture_job import PictureJob
from models.recipe import Recipe
from models.request import PostProcess
from ops.finish import Finisher, finish_job, job_plan
from ops.making.maker import Wanted, made_rows
from tests.support.recipes import a_recipe, some_pixels

POST = PostProcess().model_dump_json()
DAY_S = 24 * 3600


@dataclass(frozen=True)
class NewPicture:
    """A picture that a test puts into an image set; `pixels` may be a function."""

    row_id: str
    pixels: Any
    recipe: Recipe
    format: str = "webp"
    quality: int = 95
    post_process: str = POST
    seconds: float = 0.0
    embed: bool = True


def new_picture(row_id, seed=None, **changes):
    seed = int(row_id) if seed is None else seed
    return NewPicture(row_id, some_pixels(seed), a_recipe(seed=seed, **changes))


class GivenPictures:
    """The maker of pictures that a test has made itself."""

    def __init__(self, store):
        self.pictures: dict[str, NewPicture] = {}
        self._finisher = Finisher(store)

    def kind(self, model, size):
        return ""

    def ensure(self, jobs, on_step):
        for job in jobs:
            picture = self.pictures.pop(job.id)
            seconds = {"denoise": picture.seconds}
            yield finish_job(job, partial(self._finisher.finish, job_plan(job), picture.pixels, seconds))


def rows_of(store, pictures):
    """Rows of given pictures, stored as they are pulled; what is a row already passes."""
    maker = GivenPictures(store)

    def wanted():
        for one in pictures:
            if isinstance(one, ManifestRow):
                yield one
                continue
            job = PictureJob(recipe=one.recipe, format=one.format, quality=one.quality, embed=one.embed)
            maker.pictures.setdefault(job.id, one)
            yield Wanted(ManifestRow(one.row_id, Status.MADE, post_process=one.post_process), job)

    return made_rows(wanted(), maker)


def write_pictures(store, asset, catalog, pictures, row_ids=None):
    """Write pictures and rows as an asset's image set; returns the writer's report."""
    pictures = list(pictures)
    stream = ImageStream(catalog, row_ids or [one.row_id for one in pictures], rows_of(store, pictures))
    return ImageSetWriter(store, workers=2, queue=4).write(asset, stream)


def store_catalog(store, catalog, seeds, asset="generated_images"):
    """Write an asset's pictures of a catalog, one for each seed; returns the manifest's rows."""
    write_pictures(store, asset, catalog, [new_picture(str(seed)) for seed in seeds])
    return list(read_image_set(store, asset, catalog).rows())


def store_orphans(store, count):
    """Write pictures that nothing refers to; returns their keys."""
    keys = [f"pictures/{number % 256:02x}/{number:064x}.webp" for number in range(count)]
    for key in keys:
        store.put(key, b"orphan", content_type="image/webp")
    return set(keys)


def reuse_of(store):
    """Whatever is stored may be reused."""
    return Reuse(store, lambda: None, renew_after_s=DAY_S)


def make_old(store, keys, days=3):
    """Let objects of a local store have been written days ago."""
    for key in keys:
        os.utime(store.root / key, (time.time() - days * DAY_S,) * 2)


def keys_of(store, prefix=""):
    return {found.key for found in store.list(prefix)}

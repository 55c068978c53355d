"""Catalogs in a store, written by the real writer, without an engine."""

import os
import time

from io_managers.image_set import ImageStream, NewPicture
from io_managers.image_set_writer import ImageSetWriter
from models.request import PostProcess
from tests.support.recipes import a_recipe, some_pixels

POST = PostProcess().model_dump_json()
DAY_S = 24 * 3600


def new_picture(row_id, seed=None, **changes):
    seed = int(row_id) if seed is None else seed
    return NewPicture(row_id, some_pixels(seed), a_recipe(seed=seed, **changes), "webp", 95, POST)


def store_catalog(store, catalog, seeds, asset="generated_images"):
    """Write an asset's pictures of a catalog, one for each seed; returns the manifest's rows."""
    pictures = [new_picture(str(seed)) for seed in seeds]
    stream = ImageStream(catalog, [one.row_id for one in pictures], iter(pictures))
    return ImageSetWriter(store, workers=2, queue=4).write(asset, stream).rows


def store_orphans(store, count):
    """Write pictures that nothing refers to; returns their keys."""
    keys = [f"pictures/{number % 256:02x}/{number:064x}.webp" for number in range(count)]
    for key in keys:
        store.put(key, b"orphan", content_type="image/webp")
    return set(keys)


def make_old(store, keys, days=3):
    """Let objects of a local store have been written days ago."""
    for key in keys:
        os.utime(store.root / key, (time.time() - days * DAY_S,) * 2)


def keys_of(store, prefix=""):
    return {found.key for found in store.list(prefix)}

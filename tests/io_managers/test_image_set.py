import pytest

from io_managers.image_set import (
    ImageSet,
    ManifestRow,
    Status,
    decode_manifest,
    encode_manifest,
    manifest_key,
    picture_key,
)
from models.errors import PictureError
from resources.local_store import LocalObjectStore
from tests.support.recipes import PLAIN, a_recipe

ROWS = [
    ManifestRow("b", Status.MADE, key="pictures/aa/b.png", digest="d", size_bytes=9, seed=2**53 - 1, text="红色T恤"),
    ManifestRow("a", Status.FAILED, error="no such picture"),
    ManifestRow("c", Status.PASSED, key="pictures/aa/c.png", seconds=1.5),
]


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    images = ImageSet("shop", decode_manifest(encode_manifest(ROWS)), LocalObjectStore(tmp_path))

    assert list(images.rows()) == ROWS


def test_iteration_and_length_leave_failed_rows_out_and_keep_the_order(tmp_path):
    images = ImageSet("shop", decode_manifest(encode_manifest(ROWS)), LocalObjectStore(tmp_path))

    assert [picture.row.row_id for picture in images] == ["b", "c"]
    assert len(images) == 2
    assert images.row_ids == ["b", "a", "c"]
    assert images.manifest["status"].to_pylist() == ["made", "failed", "passed"]


def test_pictures_are_read_from_the_store_only_when_asked_for(tmp_path):
    images = ImageSet("shop", decode_manifest(encode_manifest(ROWS)), LocalObjectStore(tmp_path))
    picture = next(iter(images))
    images.store.put(picture.row.key, b"not a picture", content_type="image/png")

    with pytest.raises(PictureError, match="not one of PNG"):
        picture.image()


def test_a_picture_is_stored_under_the_digest_of_its_recipe():
    key = picture_key(PLAIN, "webp")

    assert key == f"pictures/{PLAIN.digest[:2]}/{PLAIN.digest}.webp"
    assert picture_key(a_recipe(), "webp") == key
    assert picture_key(a_recipe(seed=8), "webp") != key


def test_a_manifest_has_one_place_per_asset_and_catalog():
    assert manifest_key("thumbnails", "春装") == "manifests/thumbnails/春装.parquet"

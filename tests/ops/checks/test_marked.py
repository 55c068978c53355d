import json

import numpy as np
import pytest
from PIL import Image

from configs.settings import Settings
from io_managers.image_set import Status, read_image_set
from io_managers.image_set_writer import ImageSetWriter
from models.encoding import encode_picture
from models.image import open_stored_picture
from models.request import PostProcess
from ops.checks.marked import check_marked
from ops.derivation import derive_images
from ops.marking import Marker, catalog_step
from ops.stages import finishing, generated_format, thumbnailing
from resources.local_store import LocalObjectStore
from resources.mark_records import find_records
from tests.models.marks.test_invisible import shape_picture
from tests.support.recipes import a_recipe
from tests.support.stored_catalogs import NewPicture, reuse_of, write_pictures

PLAIN = PostProcess()


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, pictures={"thumbnail_px": 128})


def with_marks(settings, **marks):
    return settings.model_copy(update={"marks": settings.marks.model_copy(update=marks)})


def generated(store):
    pictures = [
        NewPicture(
            str(n), shape_picture(n, 256), a_recipe(seed=n), generated_format(PLAIN), 95, PLAIN.model_dump_json()
        )
        for n in range(3)
    ]
    write_pictures(store, "generated_images", "shop", pictures)
    return read_image_set(store, "generated_images", "shop")


def finished(store, settings):
    """The marked pictures of a catalog, as its asset leaves them."""
    stream = derive_images(
        read_image_set(store, "generated_images", "shop"), finishing(settings, "shop"), reuse_of(store)
    )
    ImageSetWriter(store, workers=2, queue=4).write("watermarked_images", stream)
    return read_image_set(store, "watermarked_images", "shop")


def check(images, settings):
    return check_marked(images, Marker(settings), catalog_step(settings, "shop"), sample=10)


def test_every_finished_picture_is_marked_and_its_record_kept(store, settings):
    plain = generated(store)

    images = finished(store, settings)
    stream = derive_images(images, thumbnailing(settings), reuse_of(store))
    ImageSetWriter(store, workers=2, queue=4).write("thumbnails", stream)

    assert check(images, settings).passed
    assert check(read_image_set(store, "thumbnails", "shop"), settings).passed
    assert [row.key for row in plain.rows()] != [row.key for row in images.rows()]
    for row in images.rows():
        (record,) = find_records(store, row.recipe_digest[:12])
        assert (record.key, record.recipe) == (row.key, row.recipe)


@pytest.mark.parametrize("lost", ["signature", "metadata", "pixels"])
def test_one_file_that_lost_a_layer_blocks_the_catalog(store, settings, lost):
    generated(store)
    images = finished(store, settings)
    row = list(images.rows())[1]
    data = store.get(row.key)
    picture = open_stored_picture(data, 10**6)
    changed = {
        "signature": lambda: encode_picture(picture, "webp", 95, None),
        "metadata": lambda: data.replace(b"TC260:AIGC", b"TC260:AIGX"),
        "pixels": lambda: encode_picture(Image.fromarray(np.full((256, 256, 3), 9, np.uint8)), "webp", 95, None),
    }
    store.put(row.key, changed[lost](), content_type="image/webp")

    outcome = check(images, settings)

    assert outcome.blocks
    assert [problem.row_id for problem in outcome.problems] == ["1"]
    assert "is not marked as the policy asks" in outcome.problems[0].what


def test_another_policy_makes_the_finished_files_anew_and_no_more(store, settings):
    generated(store)
    before = finished(store, settings)
    other = with_marks(settings, producer="ACME")
    assert not check(before, other).passed

    after = finished(store, other)
    again = finished(store, settings)

    assert [row.status for row in after.rows()] == [Status.MADE] * 3
    assert check(after, other).passed
    assert [row.status for row in again.rows()] == [Status.REUSED] * 3
    assert [row.status for row in finished(store, with_marks(settings, policy="off")).rows()] == [Status.PASSED] * 3


def test_a_changed_picture_meets_its_watermark_and_then_its_label(store, settings):
    post = PostProcess.model_validate({"watermark": {"enable": True, "text": "shop"}, "format": "png"})
    row = NewPicture("0", shape_picture(1, 256), a_recipe(), "png", 95, post.model_dump_json())
    write_pictures(store, "generated_images", "shop", [row])
    china = with_marks(settings, region="cn")

    images = finished(store, china)

    (made,) = images.rows()
    assert check(images, china).passed
    assert [step["op"] for step in json.loads(made.recipe)["post"]] == ["watermark", "mark"]
    assert made.format == "png"

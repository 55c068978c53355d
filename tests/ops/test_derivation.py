import json
from dataclasses import replace

import pytest

from configs.settings import Settings
from io_managers.image_set import ManifestRow, Status, read_image_set
from io_managers.image_set_writer import ImageSetWriter
from io_managers.settling import with_recipe
from models.encoding import read_recipe
from models.errors import PictureError
from models.recipe import PostStep
from models.request import PostProcess
from ops.derivation import derive_images
from ops.stages import Change, Stage, generated_format, thumbnailing, watermarking
from resources.local_store import LocalObjectStore
from tests.support.recipes import a_recipe, some_pixels
from tests.support.stored_catalogs import NewPicture, reuse_of, write_pictures

PLAIN = PostProcess()
MARKED = PostProcess.model_validate({"watermark": {"enable": True, "text": "春日小店"}, "format": "jpg"})


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, pictures={"thumbnail_px": 32})


def write(store, asset, stream):
    ImageSetWriter(store, workers=3, queue=4).write(asset, stream)
    return read_image_set(store, asset, "shop")


def generated(store, posts):
    """A generated image set with a row per post-processing, ids "0", "1", …"""
    pictures = [
        NewPicture(
            str(n), some_pixels(n), a_recipe(seed=n), generated_format(post), 95, post.model_dump_json(), seconds=0.5
        )
        for n, post in enumerate(posts)
    ]
    return given(store, pictures)


def given(store, pictures):
    write_pictures(store, "generated_images", "shop", pictures)
    return read_image_set(store, "generated_images", "shop")


def test_a_row_that_asks_for_nothing_passes_with_its_key_and_no_copy(store, settings):
    images = generated(store, [PLAIN, MARKED])
    before = {one.key for one in store.list("pictures/")}

    marked = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    was, (passed, changed) = next(images.rows()), marked.rows()
    assert passed == replace(was, status=Status.PASSED, seconds=0.0)
    assert changed.status is Status.MADE
    assert {one.key for one in store.list("pictures/")} - before == {changed.key}


def test_the_last_change_stores_the_format_that_the_row_asks_for_and_extends_the_recipe(store, settings):
    images = generated(store, [MARKED])

    (picture,) = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    assert next(iter(images)).row.format == "png"
    assert picture.row.format == "jpg"
    recipe = read_recipe(picture.bytes())
    assert [step.op for step in recipe.post] == ["watermark"]
    assert recipe.post[0].params["text"] == "春日小店"
    assert recipe.digest == picture.row.recipe_digest
    assert json.loads(picture.row.recipe)["seed"] == 0


def test_what_is_stored_already_is_not_made_again(store, settings):
    images = generated(store, [MARKED, PLAIN])
    first = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))
    modified = {one.key: one.etag for one in store.list("pictures/")}

    second = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    assert [row.status for row in second.rows()] == ["reused", "passed"]
    assert [row.digest for row in second.rows()] == [row.digest for row in first.rows()]
    assert {one.key: one.etag for one in store.list("pictures/")} == modified


def test_a_watermark_that_changes_is_drawn_anew_on_the_same_generated_picture(store, settings):
    other = MARKED.model_copy(update={"watermark": MARKED.watermark.model_copy(update={"text": "Spring"})})
    first = write(
        store, "watermarked_images", derive_images(generated(store, [MARKED]), watermarking(settings), reuse_of(store))
    )

    second = write(
        store, "watermarked_images", derive_images(generated(store, [other]), watermarking(settings), reuse_of(store))
    )

    assert [row.status for row in second.rows()] == ["made"]
    assert next(first.rows()).key != next(second.rows()).key


def test_failed_rows_stay_failed_and_cost_nothing(store, settings):
    ghost = with_recipe(ManifestRow("1", Status.FAILED, post_process=MARKED.model_dump_json()), a_recipe(seed=1))
    good = NewPicture("0", some_pixels(0), a_recipe(seed=0), "png", 95, MARKED.model_dump_json())
    images = given(store, [good, replace(ghost, error="no such model")])

    marked = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    was, now = list(images.rows())[1], list(marked.rows())[1]
    assert (now.status, now.error) == ("failed", "no such model")
    assert now == was


def test_a_row_that_fails_here_fails_alone_and_says_why(store, settings):
    boxes = MARKED.model_copy(update={"watermark": MARKED.watermark.model_copy(update={"font": "nowhere"})})
    images = generated(store, [boxes, MARKED])

    marked = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    assert [row.status for row in marked.rows()] == ["failed", "made"]
    assert next(marked.rows()).error.startswith("font 'nowhere': no such file in the fonts folder.")


def test_a_picture_that_is_gone_fails_its_row_alone(store, settings):
    images = generated(store, [MARKED, MARKED])
    store.delete(next(iter(images)).row.key)

    marked = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    assert [row.status for row in marked.rows()] == ["failed", "made"]


def test_thumbnails_fit_their_box_and_carry_no_recipe(store, settings):
    posts = [PLAIN, MARKED]
    images = generated(store, posts)

    thumbs = write(store, "thumbnails", derive_images(images, thumbnailing(settings), reuse_of(store)))

    assert [row.format for row in thumbs.rows()] == ["webp", "webp"]
    assert all(max(picture.image().size) == 32 for picture in thumbs)
    with pytest.raises(Exception, match="carries no ImageGenX recipe"):
        read_recipe(next(iter(thumbs)).bytes())


def test_a_picture_that_fits_the_box_is_its_own_thumbnail(store, settings):
    images = generated(store, [PLAIN, MARKED])
    box = settings.model_copy(update={"pictures": settings.pictures.model_copy(update={"thumbnail_px": 64})})

    thumbs = write(store, "thumbnails", derive_images(images, thumbnailing(box), reuse_of(store)))

    assert [row.status for row in thumbs.rows()] == [Status.PASSED] * 2
    assert [row.key for row in thumbs.rows()] == [row.key for row in images.rows()]


def doubling(threads):
    """A stage that doubles every picture but those whose first pixel is as blue as row 2's."""

    def enlarge(image):
        if image.getpixel((0, 0))[2] == 80:
            raise PictureError("too blue to enlarge")
        return image.resize((image.width * 2, image.height * 2))

    change = Change(PostStep(op="upscale", params={"scale": 2}), enlarge)
    return Stage(lambda post: change, lambda post: "png", 95, lambda step: change, threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_changes_run_one_by_one_or_beside_each_other_with_the_same_result(store, threads):
    images = generated(store, [MARKED] * 3)

    larger = write(store, "upscaled_images", derive_images(images, doubling(threads), reuse_of(store)))

    rows = list(larger.rows())
    assert [row.status for row in rows] == ["made", "made", "failed"]
    assert [(row.width_px, row.height_px) for row in rows[:2]] == [(128, 128)] * 2
    assert all(row.seconds > 0 for row in rows[:2])
    assert rows[2].error == "too blue to enlarge"


def test_rows_with_one_picture_are_changed_once(store, settings):
    same = [NewPicture(str(n), some_pixels(0), a_recipe(seed=0), "png", 95, MARKED.model_dump_json()) for n in range(2)]
    images = given(store, same)

    marked = write(store, "watermarked_images", derive_images(images, watermarking(settings), reuse_of(store)))

    assert [row.status for row in marked.rows()] == ["made", "reused"]
    assert len({row.digest for row in marked.rows()}) == 1

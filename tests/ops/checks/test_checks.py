from dataclasses import replace

import pandas as pd
import pytest
from PIL import Image

from configs.settings import Settings
from io_managers.image_set import decode_manifest, encode_manifest, read_image_set
from io_managers.image_set_writer import ImageSetWriter
from models.encoding import encode_picture
from models.request import PostProcess, WatermarkParams
from ops.checks.files import check_files
from ops.checks.looks import check_looks
from ops.checks.rows import (
    catalog_rows,
    check_moderated,
    check_rows,
    finished,
    generated,
    manifest_rows,
    thumbnail,
    upscaled,
)
from ops.checks.sampling import sample_rows
from ops.checks.watermarks import check_watermarks
from ops.derivation import derive_images
from ops.stages import thumbnailing, watermarking
from resources.local_store import LocalObjectStore
from tests.support.recipes import a_recipe, some_pixels
from tests.support.stored_catalogs import NewPicture, new_picture, reuse_of, store_catalog, write_pictures

MARKED = PostProcess(watermark=WatermarkParams(enable=True, text="SHOP", position="center", margin=2))


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


def images(store, asset="generated_images"):
    return read_image_set(store, asset, "shop")


def write(store, pictures, asset="generated_images"):
    write_pictures(store, asset, "shop", pictures)
    return images(store, asset)


def edited(image_set, change):
    """The same image set with rows changed by a function."""
    rows = [change(row) for row in image_set.rows()]
    return replace(image_set, manifest=decode_manifest(encode_manifest([row for row in rows if row])))


def table(ids, resolution="64×64"):
    return pd.DataFrame({"id": list(ids), "resolution": resolution})


def whats(outcome):
    return [(problem.row_id, problem.what) for problem in outcome.problems]


# rows_as_asked


def test_a_manifest_as_asked_passes(store):
    store_catalog(store, "shop", range(3))

    outcome = check_rows(images(store), catalog_rows(table("012")), generated)

    assert (outcome.passed, outcome.checked) == (True, 3)


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        ("0123", ("3", "the manifest ends where row '3' should be; rows after it were not looked at")),
        ("01", ("2", "the manifest has row '2' after the last row; rows after it were not looked at")),
        ("021", ("1", "the manifest has row '1' where row '2' should be; rows after it were not looked at")),
    ],
)
def test_missing_surplus_and_displaced_rows_block(store, ids, what):
    store_catalog(store, "shop", range(3))

    outcome = check_rows(images(store), catalog_rows(table(ids)), generated)

    assert whats(outcome) == [what]
    assert outcome.blocks


def test_a_picture_of_another_size_or_format_blocks(store):
    store_catalog(store, "shop", range(2))
    other = edited(images(store), lambda row: replace(row, format="png") if row.row_id == "1" else row)

    assert whats(check_rows(images(store), catalog_rows(table("01", "128×64")), generated)) == [
        ("0", "is 64×64 px, asked for 128×64"),
        ("1", "is 64×64 px, asked for 128×64"),
    ]
    outcome = check_rows(other, catalog_rows(table("01")), generated)
    assert whats(outcome) == [("1", "is a png file, asked for webp")]
    assert outcome.blocks


def test_a_row_that_failed_is_reported_and_does_not_block(store):
    store_catalog(store, "shop", range(2))
    some_failed = edited(
        images(store), lambda row: replace(row, status="failed", error="out of gold") if row.row_id == "1" else row
    )

    outcome = check_rows(some_failed, catalog_rows(table("01")), generated)

    assert whats(outcome) == [("1", "failed: out of gold")]
    assert not outcome.passed
    assert not outcome.blocks


@pytest.mark.parametrize(("scale", "size"), [("2x", (128, 96)), ("4x", (256, 192)), ("", (64, 48))])
def test_upscaled_pictures_must_be_as_large_as_asked(scale, size):
    post = PostProcess(super_resolution=scale)

    assert upscaled((64, 48), post) == finished(size, post) == (size, "webp")


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 256), (256, 128)), ((100, 50), (100, 50)), ((4096, 8), (256, 1)), ((8, 4096), (1, 256))],
)
def test_thumbnails_fit_their_box_keep_their_aspect_and_are_never_enlarged(size, expected):
    made = thumbnail(256)(size, PostProcess(format="jpg"))
    assert made == (expected, "webp" if size != expected else "jpg")


def test_a_thumbnail_out_of_bounds_blocks(store):
    store_catalog(store, "shop", range(2))
    stream = derive_images(images(store), thumbnailing(Settings(pictures={"thumbnail_px": 32})), reuse_of(store))
    ImageSetWriter(store, workers=1, queue=1).write("thumbnails", stream)

    right = check_rows(images(store, "thumbnails"), manifest_rows(images(store)), thumbnail(32))
    wrong = check_rows(images(store, "thumbnails"), manifest_rows(images(store)), thumbnail(16))

    assert right.passed
    assert whats(wrong)[0] == ("0", "is 32×32 px, asked for 16×16")


# files_whole


def test_whole_files_pass(store):
    store_catalog(store, "shop", range(5))

    outcome = check_files(images(store), sample=5)

    assert (outcome.passed, outcome.checked) == (True, 5)


def test_every_missing_file_is_found_whatever_the_sample(store):
    rows = store_catalog(store, "shop", range(12))
    store.delete(rows[3].key)
    store.put(rows[7].key, b"short", content_type="image/webp")

    outcome = check_files(images(store), sample=1)

    assert whats(outcome) == [
        ("3", f"'{rows[3].key}' is not in the store"),
        ("7", f"'{rows[7].key}' has 5 bytes, not {rows[7].size_bytes:,}"),
    ]
    assert outcome.blocks
    assert "store verify --heal" in outcome.remedy


def test_a_file_changed_without_changing_its_size_is_found_in_the_sample(store):
    (row,) = store_catalog(store, "shop", [1])
    data = bytearray(store.get(row.key))
    data[-1] ^= 1
    store.put(row.key, bytes(data), content_type="image/webp")

    assert whats(check_files(images(store), sample=1)) == [
        ("1", f"'{row.key}' is not the file that was stored: its SHA-256 differs")
    ]


def test_a_file_with_another_recipe_is_found(store):
    picture = new_picture("1")
    write(store, [picture])
    liar = edited(images(store), lambda row: replace(row, recipe=a_recipe(seed=2).to_json()))

    ((row_id, what),) = whats(check_files(liar, sample=1))

    assert (row_id, what.endswith("carries another recipe than the manifest")) == ("1", True)


def test_a_file_without_a_recipe_is_found_unless_it_need_not_have_one(store):
    write(store, [replace(new_picture("1"), embed=False)])

    assert not check_files(images(store), sample=1).passed
    assert check_files(images(store), sample=1, with_recipes=False).passed


def test_samples_are_stable_bounded_and_prefer_what_was_made(store):
    store_catalog(store, "shop", range(40))
    half = edited(images(store), lambda row: replace(row, status="reused") if int(row.row_id) % 2 else row)

    sample = [row.row_id for row in sample_rows(half, 8)]

    assert sample == [row.row_id for row in sample_rows(half, 8)]
    assert len(set(sample)) == 10
    assert sum(int(row_id) % 2 == 0 for row_id in sample) == 8


# pictures_differ


def painted(row_id, pixels, **changes):
    return NewPicture(row_id, pixels, a_recipe(seed=int(row_id), **changes), "png")


def test_different_pictures_pass(store):
    write(store, [painted(str(number), some_pixels(number)) for number in range(10)])

    assert check_looks(images(store)).passed


def test_a_blank_picture_is_reported_and_half_of_them_block(store):
    blank, good = Image.new("RGB", (64, 64), "black"), some_pixels(1)

    few = check_looks(write(store, [painted("0", blank), *(painted(str(n), some_pixels(n)) for n in (1, 2))]))
    many = check_looks(write(store, [painted("0", blank), painted("1", good)]))

    assert whats(few) == [("0", "is blank: its colours spread 0.0 of 255 levels")]
    assert (few.blocks, many.blocks) == (False, True)


def test_equal_pictures_of_different_recipes_are_reported_and_many_block(store):
    same = [painted(str(number), some_pixels(1)) for number in range(12)]

    few = check_looks(write(store, same[:2]))
    many = check_looks(write(store, same))

    assert whats(few) == [("1", "has the same picture as row '0', of another recipe")]
    assert (few.blocks, many.blocks) == (False, True)


def test_rows_with_one_recipe_may_share_one_picture(store):
    rows = store_catalog(store, "shop", [1])
    twins = replace(images(store), manifest=decode_manifest(encode_manifest([rows[0], replace(rows[0], row_id="2")])))

    assert check_looks(twins).passed


# watermarks_shown


def marked_images(store, settings, post=MARKED):
    plain = [
        replace(new_picture(str(number)), format="png", post_process=post.model_dump_json()) for number in range(3)
    ]
    unmarked = write(store, plain, "upscaled_images")
    ImageSetWriter(store, workers=1, queue=1).write(
        "watermarked_images", derive_images(unmarked, watermarking(settings), reuse_of(store))
    )
    return images(store, "watermarked_images"), unmarked


def test_watermarks_are_seen_where_they_should_be(store):
    marked, unmarked = marked_images(store, Settings())

    outcome = check_watermarks(marked, unmarked, Settings(), sample=3)

    assert (outcome.passed, outcome.checked) == (True, 3)


@pytest.mark.parametrize("position", ["top-left", "bottom-right"])
def test_a_picture_without_its_mark_or_with_one_elsewhere_blocks(store, position):
    marked, unmarked = marked_images(store, Settings())
    row = next(row for row in marked.rows() if row.row_id == "1")
    image = Image.fromarray(some_pixels(1))
    if position == "top-left":
        image.paste("white", (0, 0, 12, 12))
    store.put(row.key, encode_picture(image, "webp", 95, None), content_type="image/webp")

    outcome = check_watermarks(marked, unmarked, Settings(), sample=3)

    assert whats(outcome) == [("1", "has no watermark where one should be")]
    assert outcome.blocks


def test_a_mark_that_nobody_could_see_is_not_asked_for(store):
    invisible = PostProcess(watermark=MARKED.watermark.model_copy(update={"transparency": 0.0}))
    marked, unmarked = marked_images(store, Settings(), invisible)

    assert check_watermarks(marked, unmarked, Settings(), sample=3).passed


# moderated


def test_rejected_rows_are_reported_and_unseen_pictures_block(store):
    store_catalog(store, "shop", range(3))

    def moderated(row):
        if row.row_id == "0":
            return replace(row, status="rejected", error="text: has the blocked word 'gun'")
        return replace(row, moderated_by="blocklist 1") if row.row_id == "1" else row

    outcome = check_moderated(edited(images(store), moderated), "blocklist 1")

    assert whats(outcome) == [
        ("0", "text: has the blocked word 'gun'"),
        ("2", "was allowed by '', not by 'blocklist 1'"),
    ]
    assert [problem.blocks for problem in outcome.problems] == [False, True]

import hashlib
import time
from dataclasses import replace

import pytest

from io_managers.image_set import (
    FailedPicture,
    ImageStream,
    KeptPicture,
    NewPicture,
    Status,
    manifest_key,
    read_image_set,
)
from io_managers.image_set_writer import ImageSetWriter, NoPictureError
from io_managers.settling import recipe_row
from models.encoding import read_recipe
from models.errors import PictureError
from models.request import PostProcess
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from tests.support.recipes import a_recipe, some_pixels

POST = PostProcess().model_dump_json()


class CountingStore(LocalObjectStore):
    """A real store that notes what is read and written, and can run out of space."""

    def __init__(self, root, *, room=None):
        super().__init__(root)
        self.puts, self.gets, self.room = [], [], room

    def put(self, key, data, *, content_type):
        if self.room is not None and len(self.puts) >= self.room:
            raise StoreUnavailableError("the disk is full")
        self.puts.append(key)
        return super().put(key, data, content_type=content_type)

    def get(self, key):
        self.gets.append(key)
        return super().get(key)


@pytest.fixture
def store(tmp_path):
    return CountingStore(tmp_path / "store")


def new(row_id, seed=None, **changes):
    seed = int(row_id) if seed is None else seed
    picture = NewPicture(row_id, some_pixels(seed), a_recipe(seed=seed), "webp", 95, POST, seconds=0.5)
    return replace(picture, **changes)


def kept(picture, size_bytes=0):
    row = recipe_row(picture.row_id, Status.REUSED, picture.recipe, picture.format, POST)
    return KeptPicture(replace(row, size_bytes=size_bytes))


def stream(pictures, row_ids=None):
    pictures = list(pictures)
    return ImageStream("shop", row_ids or [picture.row_id for picture in pictures], iter(pictures))


def write(store, pictures, row_ids=None, asset="generated_images"):
    return ImageSetWriter(store, workers=3, queue=4).write(asset, stream(pictures, row_ids))


def rows(store, asset="generated_images"):
    return list(read_image_set(store, asset, "shop").rows())


def test_every_picture_is_stored_with_its_recipe_and_the_manifest_comes_last(store):
    write(store, [new(str(number)) for number in range(10)])

    written = rows(store)
    assert store.puts[-1] == "manifests/generated_images/shop.parquet"
    assert [row.row_id for row in written] == [str(number) for number in range(10)]
    for row in written:
        data = store.get(row.key)
        assert read_recipe(data).to_json() == row.recipe
        assert (row.digest, row.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (row.width_px, row.height_px, row.seconds) == (64, 64, 0.5)
        assert row.key == f"pictures/{row.recipe_digest[:2]}/{row.recipe_digest}.webp"


def test_the_manifest_keeps_the_order_of_the_catalog_whatever_order_pictures_come_in(store):
    report = write(store, [new("3"), new("1"), new("2")], row_ids=["1", "2", "3"])

    assert [row.row_id for row in report.rows] == ["1", "2", "3"]


def test_a_stream_that_breaks_leaves_its_pictures_and_no_manifest(store):
    def breaking():
        yield from (new(str(number)) for number in range(6))
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        ImageSetWriter(store, workers=3, queue=4).write(
            "generated_images", ImageStream("shop", list("0123456"), breaking())
        )

    assert store.stat(manifest_key("generated_images", "shop")) is None
    assert 0 < len(list(store.list("pictures/"))) <= 6


def test_a_stream_that_breaks_leaves_the_previous_manifest_in_place(store):
    write(store, [new("1")])

    store.room = len(store.puts)
    with pytest.raises(StoreUnavailableError):
        write(store, [new("1"), new("2")])

    assert [row.row_id for row in rows(store)] == ["1"]


def test_a_stream_is_closed_when_its_run_breaks_off(tmp_path):
    store, closed = CountingStore(tmp_path, room=0), []

    def pictures():
        try:
            while True:
                yield new("1")
        finally:
            closed.append(True)

    stream = ImageStream("shop", ["1"], pictures())
    with pytest.raises(StoreUnavailableError):
        ImageSetWriter(store, workers=3, queue=4).write("generated_images", stream)

    assert closed == [True]


def test_a_failing_store_ends_the_run_within_a_queue_of_pictures(tmp_path):
    store, pulled = CountingStore(tmp_path, room=5), []

    def endless():
        for number in range(10_000):
            pulled.append(number)
            time.sleep(0.001)
            yield new(str(number))

    with pytest.raises(StoreUnavailableError, match="the disk is full"):
        ImageSetWriter(store, workers=3, queue=4).write(
            "generated_images", ImageStream("shop", [str(number) for number in range(10_000)], endless())
        )

    assert len(pulled) <= 5 + 3 + 4 + 1
    assert store.stat(manifest_key("generated_images", "shop")) is None


def test_a_run_never_holds_more_pictures_than_the_queue_allows(store):
    pulled, drawn, most_held = [], [], []

    def draw(number):
        time.sleep(0.005)
        drawn.append(number)
        return some_pixels(number)

    def pictures():
        for number in range(60):
            pulled.append(number)
            most_held.append(len(pulled) - len(drawn))
            yield new(str(number), pixels=lambda number=number: draw(number))

    row_ids = [str(number) for number in range(60)]
    ImageSetWriter(store, workers=3, queue=4).write("generated_images", ImageStream("shop", row_ids, pictures()))

    assert len(drawn) == 60
    assert max(most_held) <= 3 + 4 + 1


def test_a_failed_row_is_a_row_of_the_manifest_and_the_others_go_on(store):
    failed = FailedPicture("2", "no face fits", "a portrait", "tiny", a_recipe(seed=2), POST)

    report = write(store, [new("1"), failed, new("3")])

    assert [row.status for row in report.rows] == ["made", "failed", "made"]
    row = rows(store)[1]
    assert (row.error, row.key, row.digest, row.text, row.seed) == ("no face fits", "", "", "a red mug", 2)


def test_a_picture_that_cannot_be_drawn_or_encoded_fails_its_row_only(store):
    def broken():
        raise PictureError("the logo cannot be read: it is damaged.")

    report = write(store, [new("1", pixels=broken), new("2", pixels=some_pixels(2, 16_400, 8)), new("3")])

    assert [row.status for row in report.rows] == ["failed", "failed", "made"]
    assert report.rows[0].error == "the logo cannot be read: it is damaged."
    assert report.rows[1].error.startswith("16400×8 px as webp: its longest side is 16,383 px.")
    assert report.rows[0].recipe_digest == a_recipe(seed=1).digest


def test_if_all_rows_fail_the_asset_fails_and_says_why(store):
    failed = [FailedPicture(str(number), "no weights" if number else "no mask") for number in range(4)]

    with pytest.raises(NoPictureError) as caught:
        write(store, failed)

    assert str(caught.value) == (
        "all 4 rows of catalog 'shop' failed in generated_images:\n  no weights (3 rows)\n  no mask (1 row)"
    )
    assert store.puts == []


def test_a_kept_picture_takes_its_file_from_the_last_manifest_without_being_read(store):
    many = [new(str(number)) for number in range(40)]
    write(store, many)
    before = rows(store)
    store.gets.clear()

    report = write(store, [kept(one, row.size_bytes) for one, row in zip(many, before, strict=True)])

    assert [replace(row, status=Status.MADE, seconds=0.5) for row in report.rows] == before
    sampled_for_the_contact_sheet = {row.key for row in before[:24]}
    assert set(store.gets) == {manifest_key("generated_images", "shop"), *sampled_for_the_contact_sheet}


def test_a_kept_picture_unknown_to_the_last_manifest_is_read_once(store):
    one = new("1")
    data_row = write(store, [one]).rows[0]
    store.delete(manifest_key("generated_images", "shop"))
    store.gets.clear()

    report = write(store, [kept(one, data_row.size_bytes)])

    assert report.rows[0] == replace(data_row, status=Status.REUSED, seconds=0.0)
    assert store.gets == [data_row.key]


def test_a_file_that_changed_since_the_last_manifest_is_read_again(store):
    one = new("1")
    row = write(store, [one]).rows[0]
    other = CountingStore(store.root.parent / "other")
    replacement = write(other, [replace(one, pixels=some_pixels(9))]).rows[0]
    store.put(row.key, other.get(replacement.key), content_type="image/webp")

    report = write(store, [kept(one, replacement.size_bytes)])

    assert report.rows[0].digest == replacement.digest


def test_two_rows_with_one_recipe_share_one_picture_that_is_stored_once(store):
    first = new("1")
    twin = kept(replace(first, row_id="2"))

    report = write(store, [first, twin])

    made, reused = report.rows
    assert (made.status, reused.status) == ("made", "reused")
    assert (made.key, made.digest, made.size_bytes) == (reused.key, reused.digest, reused.size_bytes)
    assert store.puts == [made.key, manifest_key("generated_images", "shop")]


def test_the_twin_of_a_picture_that_fails_fails_with_it(store):
    def broken():
        raise PictureError("damaged")

    first = new("1", pixels=broken)

    report = write(store, [first, kept(replace(first, row_id="2")), new("3")])

    assert [(row.status, row.error) for row in report.rows[:2]] == [("failed", "damaged"), ("failed", "damaged")]


def test_a_kept_picture_that_is_gone_fails_its_row(store):
    report = write(store, [kept(new("1")), new("2")])

    assert [row.status for row in report.rows] == ["failed", "made"]
    assert report.rows[0].error.startswith("no object 'pictures/")


def test_a_thumbnail_carries_no_recipe_in_its_file(store):
    write(store, [new("1", embed=False)], asset="thumbnails")

    data = store.get(rows(store, "thumbnails")[0].key)
    with pytest.raises(Exception, match="carries no ImageGenX recipe"):
        read_recipe(data)


def test_seconds_are_told_by_stage(store):
    def slow():
        time.sleep(0.2)
        yield new("1")

    report = ImageSetWriter(store, workers=1, queue=1).write("generated_images", ImageStream("shop", ["1"], slow()))

    assert set(report.seconds) == {"engine", "draw", "encode", "upload", "wall"}
    assert report.seconds["engine"] == pytest.approx(0.2, abs=0.15)
    assert report.seconds["wall"] >= report.seconds["engine"] + report.seconds["encode"]

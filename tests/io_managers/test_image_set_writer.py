import hashlib
import io
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from io_managers import manifest_file
from io_managers.image_set import ImageStream, ManifestRow, Status, decode_manifest, manifest_key, read_image_set
from io_managers.image_set_writer import ImageSetWriter, NoPictureError
from io_managers.manifest_file import ManifestFile
from io_managers.settling import recipe_row, with_recipe
from models.encoding import read_recipe
from models.request import PostProcess
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from tests.support.recipes import a_recipe, some_pixels
from tests.support.stored_catalogs import NewPicture, rows_of

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
    return replace(NewPicture(row_id, some_pixels(seed), a_recipe(seed=seed), seconds=0.5), **changes)


def kept(picture, size_bytes=0):
    row = recipe_row(
        ManifestRow(picture.row_id, Status.REUSED, post_process=POST), Status.REUSED, picture.recipe, picture.format
    )
    return replace(row, size_bytes=size_bytes)


def failed(row_id, error):
    return replace(with_recipe(ManifestRow(row_id, Status.FAILED), a_recipe(seed=int(row_id))), error=error)


def write(store, pictures, row_ids=None, asset="generated_images"):
    row_ids = row_ids or [picture.row_id for picture in pictures]
    return ImageSetWriter(store, workers=3, queue=4).write(
        asset, ImageStream("shop", row_ids, rows_of(store, pictures))
    )


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

    assert [row.row_id for row in report.first] == ["1", "2", "3"]


def test_rows_are_written_in_groups_and_wait_only_for_one_before_them(monkeypatch):
    monkeypatch.setattr(manifest_file, "ROWS_PER_GROUP", 3)
    ids = [str(number) for number in range(8)]
    file = ManifestFile(ids)

    placed = [[row.row_id for row in file.add(ManifestRow(row_id, Status.MADE))] for row_id in "02143567"]

    assert placed == [["0"], [], ["1", "2"], [], ["3", "4"], ["5"], ["6"], ["7"]]
    data = file.data()
    assert decode_manifest(data).column("row_id").to_pylist() == ids
    assert pq.ParquetFile(io.BytesIO(data)).num_row_groups == 3


def test_a_stream_that_breaks_leaves_its_pictures_and_no_manifest(store):
    def breaking():
        yield from (new(str(number)) for number in range(6))
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        write(store, breaking(), list("0123456"))

    assert store.stat(manifest_key("generated_images", "shop")) is None
    assert 0 < len(list(store.list("pictures/"))) <= 6


def test_a_stream_that_breaks_leaves_the_previous_manifest_in_place(store):
    write(store, [new("1")])

    store.room = len(store.puts)
    with pytest.raises(StoreUnavailableError):
        write(store, [new("1"), new("2")])

    assert [row.row_id for row in rows(store)] == ["1"]


def test_a_stream_is_closed_when_its_run_breaks_off(store):
    one = kept(new("1"), size_bytes=1)
    closed = []

    class Away(CountingStore):
        def get(self, key):
            raise StoreUnavailableError("no answer")

    def rows():
        try:
            while True:
                yield one
        finally:
            closed.append(True)

    with pytest.raises(StoreUnavailableError):
        ImageSetWriter(Away(store.root), workers=3, queue=4).write(
            "generated_images", ImageStream("shop", ["1"], rows())
        )

    assert closed == [True]


def test_a_failed_row_is_a_row_of_the_manifest_and_the_others_go_on(store):
    report = write(store, [new("1"), failed("2", "no face fits"), new("3")])

    assert [row.status for row in report.first] == ["made", "failed", "made"]
    row = rows(store)[1]
    assert (row.error, row.key, row.digest, row.text, row.seed) == ("no face fits", "", "", "a red mug", 2)


def test_if_all_rows_fail_the_asset_fails_and_says_why(store):
    rows = [failed(str(number), "no weights" if number else "no mask") for number in range(4)]

    with pytest.raises(NoPictureError) as caught:
        write(store, rows)

    assert str(caught.value) == (
        "all 4 rows of catalog 'shop' failed in generated_images:\n  no weights (3 rows)\n  no mask (1 row)"
    )
    assert store.puts == []


def test_a_kept_picture_takes_its_file_from_the_last_manifest_without_being_read(store):
    many = [new(str(number)) for number in range(40)]
    write(store, many)
    before = rows(store)
    store.gets.clear()

    write(store, [kept(one, row.size_bytes) for one, row in zip(many, before, strict=True)])

    sampled_for_the_contact_sheet = {row.key for row in before[:24]}
    assert set(store.gets) == {manifest_key("generated_images", "shop"), *sampled_for_the_contact_sheet}
    assert [replace(row, status=Status.MADE, seconds=0.5) for row in rows(store)] == before


def test_a_kept_picture_unknown_to_the_last_manifest_is_read_once(store):
    one = new("1")
    data_row = write(store, [one]).first[0]
    store.delete(manifest_key("generated_images", "shop"))
    store.gets.clear()

    report = write(store, [kept(one, data_row.size_bytes)])

    assert report.first[0] == replace(data_row, status=Status.REUSED, seconds=0.0)
    assert store.gets == [data_row.key]


def test_a_file_that_changed_since_the_last_manifest_is_read_again(store):
    one = new("1")
    row = write(store, [one]).first[0]
    other = CountingStore(store.root.parent / "other")
    replacement = write(other, [replace(one, pixels=some_pixels(9))]).first[0]
    store.put(row.key, other.get(replacement.key), content_type="image/webp")

    report = write(store, [kept(one, replacement.size_bytes)])

    assert report.first[0].digest == replacement.digest


def test_a_kept_picture_that_is_gone_fails_its_row(store):
    report = write(store, [kept(new("1")), new("2")])

    assert [row.status for row in report.first] == ["failed", "made"]
    assert report.first[0].error.startswith("no object 'pictures/")


def test_seconds_are_told_by_stage(store):
    def slow():
        time.sleep(0.2)
        yield new("1")

    report = write(store, slow(), ["1"])

    assert set(report.seconds) == {"making", "wall"}
    assert report.seconds["wall"] >= report.seconds["making"] >= 0.2

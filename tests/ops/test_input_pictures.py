import hashlib
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from models.errors import PictureError
from ops.catalog.pictures import FolderFiles
from ops.input_pictures import InputPictures
from resources.local_store import LocalObjectStore
from tests.support.costly_pictures import adobe_rgb_profile, png_with
from tests.support.stored_catalogs import make_old


@pytest.fixture
def inputs(tmp_path):
    (tmp_path / "catalogs").mkdir()
    Image.new("RGB", (40, 30), "red").save(tmp_path / "catalogs/red.png")
    files = FolderFiles(tmp_path / "catalogs", "shop")
    return InputPictures(files, LocalObjectStore(tmp_path / "store"), max_pixels=10_000)


def test_no_reference_is_no_picture(inputs):
    assert inputs.find("") is None
    assert inputs.find(None) is None


def test_a_picture_is_known_by_its_content_and_decoded_when_needed(inputs):
    found = inputs.find("red.png")

    assert found.digest == hashlib.sha256((inputs.files.folder / "red.png").read_bytes()).hexdigest()
    assert found.load().size == (40, 30)


def test_a_picture_that_many_rows_name_is_read_once(inputs):
    first = inputs.find("red.png")
    (inputs.files.folder / "red.png").unlink()

    assert inputs.find("red.png") is first


def test_a_file_beside_the_catalog_wins_over_an_object_of_that_key(inputs):
    inputs.store.put("red.png", b"something else", content_type="image/png")

    assert inputs.find("red.png").load().size == (40, 30)


@pytest.mark.parametrize("reference", ["../secret.png", "/etc/passwd", "a/../../b.png", "C:\\x.png", "http://x/y.png"])
def test_a_reference_that_leads_out_is_refused(inputs, reference):
    with pytest.raises(PictureError):
        inputs.find(reference)


def test_a_damaged_or_huge_picture_names_itself(inputs):
    data = (inputs.files.folder / "red.png").read_bytes()
    (inputs.files.folder / "cut.png").write_bytes(data[:50])
    Image.new("L", (200, 100)).save(inputs.files.folder / "huge.png")

    with pytest.raises(PictureError, match=r"^'cut.png': the picture cannot be read"):
        inputs.find("cut.png").load()
    with pytest.raises(PictureError, match=r"^'huge.png': the picture is 200×100 px"):
        inputs.find("huge.png").load()


def test_metadata_of_any_size_and_a_colour_profile_are_read_as_everywhere(inputs):
    (inputs.files.folder / "photo.png").write_bytes(
        png_with(
            (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000))),
            (b"iCCP", b"Adobe RGB\0\0" + zlib.compress(adobe_rgb_profile())),
            picture=Image.new("RGB", (8, 8), (188, 27, 61)),
        )
    )
    np.testing.assert_allclose(inputs.find("photo.png").load().getpixel((3, 3)), (220, 20, 60), atol=1)


def test_a_picture_is_put_once_where_workers_find_it(inputs):
    digest = hashlib.sha256((inputs.files.folder / "red.png").read_bytes()).hexdigest()
    puts = []
    put = inputs.store.put
    inputs.store.put = lambda key, data, **more: puts.append(key) or put(key, data, **more)

    assert inputs.stored_key("red.png") == inputs.stored_key("red.png") == f"inputs/{digest}"

    assert puts == [f"inputs/{digest}"]
    assert hashlib.sha256(inputs.store.get(f"inputs/{digest}")).hexdigest() == digest
    assert inputs.stored_key("") == inputs.stored_key(None) == ""


def test_a_picture_that_the_garbage_collection_may_soon_take_is_written_anew(inputs):
    key = inputs.stored_key("red.png")
    make_old(inputs.store, [key])
    again = InputPictures(inputs.files, inputs.store, max_pixels=10_000)

    assert again.stored_key("red.png") == key

    assert inputs.store.stat(key).written_s > time.time() - 3600


def test_a_picture_that_was_replaced_since_its_row_was_planned_is_refused(inputs):
    inputs.find("red.png")
    Image.new("RGB", (40, 30), "blue").save(inputs.files.folder / "red.png")

    with pytest.raises(PictureError, match=r"^'red.png': replaced since the row was planned"):
        inputs.stored_key("red.png")

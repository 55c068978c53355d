"""What a run of a catalog would make."""

import pytest

from ops.catalog.pictures import FolderFiles
from ops.catalog.reading import read_catalog
from ops.editions import RowChange, request_changes
from ops.input_pictures import InputPictures
from ops.prospect import Prospect, prospect
from tests.support.released_catalogs import Studio


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path)


def look(studio, tmp_path, text, name="shop"):
    file = tmp_path / f"{name}.csv"
    file.write_text(text, encoding="utf-8")
    registry = studio.registry
    inputs = InputPictures(FolderFiles(tmp_path, name), studio.store, 1_000_000)
    return prospect(read_catalog(file, registry), studio.store, registry, inputs)


def made(studio, tmp_path, count):
    """Make a catalog of so many rows, as its file says."""
    recipes = [studio.recipe(f"a mug {n}", seed=n) for n in range(count)]
    studio.make("shop", *recipes)
    one = recipes[0]
    said = f"{one.width_px}x{one.height_px},{one.steps},{one.cfg_scale},{one.sampler}"
    lines = (f"r{n},own,{n},a mug {n},{said}\n" for n in range(count))
    return "id,model_type,seed,text,resolution,steps,cfg_scale,sampler\n" + "".join(lines)


def test_rows_that_are_made_are_kept_and_new_ones_cost_what_pictures_took(studio, tmp_path):
    text = made(studio, tmp_path, 3)

    assert look(studio, tmp_path, text) == Prospect(0, 3)
    more = look(studio, tmp_path, text + "n1,own,9,a new mug,,,,\nn2,own,10,another mug,,,,\n")

    assert (more.new, more.kept, more.gpu_s) == (2, 3, 4.0)
    assert str(more) == "2 new, 3 kept, about 4 GPU seconds"


def test_an_edit_on_the_page_is_a_picture_to_make(studio, tmp_path):
    text = made(studio, tmp_path, 3)
    request_changes(studio.store, "shop", {"r0": RowChange(text="a red mug", shown="a mug 0")}, "wish-1")
    found = look(studio, tmp_path, text)
    assert (found.new, found.kept) == (1, 2)


def test_a_model_that_was_never_measured_is_named_and_another_catalogs_measure_counts(studio, tmp_path):
    text = "id,text,model_type\na,a mug,own\n"
    assert str(look(studio, tmp_path, text)) == "1 new, 0 kept, how long own takes is not known here yet"
    made(studio, tmp_path, 3)
    assert look(studio, tmp_path, text, "other").gpu_s == 2.0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.4, "1 GPU second"), (119, "119 GPU seconds"), (540, "9 GPU minutes"), (36_000, "10 GPU hours")],
)
def test_seconds_are_told_as_people_say_them(seconds, told):
    assert str(Prospect(12, 4_988, gpu_s=seconds)) == f"12 new, 4,988 kept, about {told}"

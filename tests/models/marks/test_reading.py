"""Marks of files that anybody may have made: each is told, or the file is refused in one line."""

import io
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from configs.settings import Settings
from models.errors import PictureError
from models.image import marks_in
from ops.marking import Marker, marking_step
from tests.models.marks.test_invisible import shape_picture
from tests.support.fuzzing import TIMES
from tests.support.recipes import a_recipe

FORMATS = ("png", "jpg", "webp")


@pytest.fixture(scope="module")
def marked(tmp_path_factory) -> dict[str, bytes]:
    """Files with every mark, by format."""
    deployment = Settings(home=tmp_path_factory.mktemp("home"))
    recipe = a_recipe().with_step(marking_step(deployment))
    image = Image.fromarray(shape_picture(1, 96))
    return {name: Marker(deployment).encode(image, name, 80, recipe, embed=True) for name in FORMATS}


@settings(max_examples=60 * TIMES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 2**15), st.binary(min_size=1, max_size=4)), max_size=6),
    doubled=st.none() | st.tuples(st.integers(0, 2**15), st.integers(1, 2**12)),
    cut=st.none() | st.integers(0, 2**15),
)
def test_whatever_is_made_of_a_marked_file_its_marks_are_told_or_it_is_refused(marked, name, changes, doubled, cut):
    data = bytearray(marked[name])
    for place, values in changes:
        data[place % len(data) : place % len(data) + len(values)] = values
    if doubled:
        data[doubled[0] : doubled[0]] = data[doubled[0] : sum(doubled)]
    file = io.BytesIO(data[:cut]).getvalue()
    began_s = time.process_time()
    try:
        told = [one.says for one in marks_in(file, 10**6, "")]
    except PictureError as exc:
        told = [str(exc)]
    assert all(len(text) < 2000 and "costs more time or memory" not in text for text in told)
    assert time.process_time() - began_s < 5

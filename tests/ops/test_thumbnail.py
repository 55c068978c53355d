"""Thumbnails fit their square and leave the original alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ops.thumbnail import make_thumbnail, thumbnail_step
from tests.support.recipes import some_pixels


@settings(max_examples=150, deadline=None)
@given(width_px=st.integers(1, 3000), height_px=st.integers(1, 3000), side_px=st.integers(1, 512))
def test_any_picture_fits_the_square_in_its_own_proportions(width_px, height_px, side_px):
    thumbnail = make_thumbnail(Image.new("RGB", (width_px, height_px)), side_px)
    longest = max(width_px, height_px)
    assert max(thumbnail.size) == min(longest, side_px)
    factor = min(side_px / longest, 1)
    assert abs(thumbnail.width - width_px * factor) < 1
    assert abs(thumbnail.height - height_px * factor) < 1
    assert min(thumbnail.size) >= 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (256, 256)),
        ((768, 512), (256, 171)),
        ((512, 2048), (64, 256)),
        ((4096, 8), (256, 1)),
        ((256, 100), (256, 100)),
        ((40, 30), (40, 30)),
    ],
)
def test_thumbnails_fit_256_px_and_are_never_enlarged(size, expected):
    assert make_thumbnail(Image.new("RGB", size)).size == expected


@pytest.mark.parametrize("size", [(600, 400), (60, 40)])
def test_the_original_is_not_altered(size):
    original = Image.fromarray(some_pixels(2, *size))
    before = original.copy()
    thumbnail = make_thumbnail(original)
    thumbnail.paste("red", (0, 0, *thumbnail.size))
    assert np.array_equal(np.asarray(original), np.asarray(before))


def test_thumbnails_are_lanczos():
    original = Image.fromarray(some_pixels(2, 512, 512))
    expected = original.resize((256, 256), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(make_thumbnail(original)), np.asarray(expected))


def test_thumbnails_are_rgb():
    thumbnail = make_thumbnail(Image.new("RGBA", (600, 600), (0, 0, 0, 0)))
    assert thumbnail.mode == "RGB"
    assert thumbnail.getpixel((0, 0)) == (255, 255, 255)


def test_the_step_says_what_decides_the_pixels():
    step = thumbnail_step(128)
    assert (step.op, step.params, step.uses) == ("thumbnail", {"side_px": 128}, "")

import math

import numpy as np
import pytest
from PIL import Image

from models.errors import PictureError
from models.input_pictures import fit_control, fit_mask, fit_picture, keep_unmasked
from models.resolution import Resolution

SIZE = Resolution(64, 96)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I", "I;16", "F"])
@pytest.mark.parametrize("sides", [(64, 96), (300, 20), (20, 300), (1, 1)])
def test_any_picture_becomes_rgb_of_the_wanted_size(mode, sides):
    fitted = fit_picture(Image.new(mode, sides), SIZE)

    assert (fitted.mode, fitted.size) == ("RGB", (64, 96))


def test_the_middle_is_cut_out_undistorted():
    picture = Image.new("RGB", (192, 96), "red")
    picture.paste("blue", (64, 0, 128, 96))

    assert fit_picture(picture, SIZE).getcolors() == [(64 * 96, (0, 0, 255))]


def test_transparent_parts_are_white():
    assert fit_picture(Image.new("RGBA", (64, 96), (255, 0, 0, 0)), SIZE).getpixel((5, 5)) == (255, 255, 255)


def test_the_mask_is_cut_like_its_picture_whatever_its_own_size():
    mask = Image.new("L", (96, 48))
    mask.paste(255, (32, 0, 64, 48))

    fitted = fit_mask(mask, (192, 96), SIZE)

    assert fitted.getcolors() == [(64 * 96, 255)]


def test_a_mask_stays_black_and_white():
    mask = Image.fromarray(np.random.default_rng(0).integers(0, 2, (33, 77), dtype=np.uint8) * 255)

    assert {color for _, color in fit_mask(mask, (500, 400), SIZE).getcolors()} == {0, 255}


def test_outside_of_the_mask_the_picture_stays_and_inside_it_is_painted():
    painted = np.full((64, 64, 3), 10, np.uint8)
    picture = Image.new("RGB", (64, 64), (200, 200, 200))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))

    result = keep_unmasked(painted, picture, mask)

    assert (result[:, :32] == 10).all()
    assert (result[:, 32:] == 200).all()
    assert keep_unmasked(painted, picture, Image.new("L", (64, 64), 255)).max() == 10
    assert keep_unmasked(painted, picture, Image.new("L", (64, 64))).min() == 200


def test_a_soft_edge_mixes_and_its_dark_half_stays():
    painted = np.full((1, 256, 3), 10, np.uint8)
    picture = Image.new("RGB", (256, 1), (200, 200, 200))
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])

    row = keep_unmasked(painted, picture, ramp)[0, :, 0].astype(int)

    assert (row[:128] == 200).all()
    assert row[255] == 10
    assert (np.diff(row[127:]) <= 0).all()
    assert np.abs(np.diff(row)).max() <= 2


@pytest.mark.parametrize("below", ["white", "black", (3, 200, 90)])
def test_what_is_transparent_in_a_mask_is_not_masked_whatever_colour_it_has(below):
    mask = Image.new("RGBA", (64, 96), below)
    mask.putalpha(0)
    mask.paste((255, 255, 255, 255), (8, 8, 24, 24))

    fitted = np.asarray(fit_mask(mask, (64, 96), SIZE))

    assert (fitted[8:24, 8:24] == 255).all()
    assert fitted.sum() == 255 * 16 * 16


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "1", "P"])
def test_a_mask_may_be_of_any_mode(mode):
    mask = Image.new("L", (64, 96))
    mask.paste(255, (8, 8, 24, 24))

    assert np.asarray(fit_mask(mask.convert(mode), (64, 96), SIZE)).sum() == 255 * 16 * 16


@pytest.mark.parametrize("sides", [(128, 192), (64, 96), (65, 97), (7, 5), (400, 30), (30, 400)])
def test_no_stroke_gets_lost_however_thin(sides):
    """Each row and column of the part that is used, alone in its mask, leaves white somewhere."""
    scale = min(sides[0] / 64, sides[1] / 96)
    for axis, used in ((0, 96 * scale), (1, 64 * scale)):
        length = sides[1 - axis]
        for place in range(math.ceil((length - used) / 2), math.floor((length + used) / 2)):
            levels = np.zeros(sides[::-1], np.uint8)
            levels[(slice(None),) * axis + (place,)] = 255
            assert np.asarray(fit_mask(Image.fromarray(levels), sides, SIZE)).max() == 255


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (
            Image.new("L", (64, 96)),
            "the mask is black: its brightest value is 0, and from 128 of 255 on a pixel is painted anew; "
            "transparent counts as black. Make white what is to be painted.",
        ),
        (
            Image.fromarray(np.eye(96, 64, dtype=np.uint8)),
            "the mask is black: its brightest value is 1, and from 128 of 255 on a pixel is painted anew; "
            "transparent counts as black. Its values are 0 and 1: save white as 255. Make white what is to be painted.",
        ),
        (
            Image.new("RGBA", (64, 96), (255, 255, 255, 100)),
            "the mask is black: its brightest value is 100, and from 128 of 255 on a pixel is painted anew; "
            "transparent counts as black. Make white what is to be painted.",
        ),
    ],
)
def test_a_mask_of_nothing_says_so(mask, error):
    with pytest.raises(PictureError) as refused:
        fit_mask(mask, (64, 96), SIZE)

    assert str(refused.value) == error


def test_a_mask_that_is_white_only_where_the_picture_is_cut_off_says_so():
    mask = Image.new("L", (192, 96))
    mask.paste(255, (0, 0, 30, 96))

    with pytest.raises(PictureError, match="no white in the part of the picture that is used"):
        fit_mask(mask, (192, 96), SIZE)


def test_a_mask_is_laid_pixel_by_pixel_over_a_picture_of_its_size():
    levels = np.random.default_rng(5).integers(0, 256, (96, 64), dtype=np.uint8)

    np.testing.assert_array_equal(np.asarray(fit_mask(Image.fromarray(levels), (64, 96), SIZE)), levels)


def test_a_control_picture_is_used_as_it_is_or_for_its_edges_as_the_card_says():
    plain = Image.new("RGB", (64, 96), "white")
    plain.paste((30, 60, 200), (16, 16, 48, 80))
    edges = fit_control(plain, SIZE, "canny")

    assert sorted(color for _, color in edges.getcolors()) == [(0, 0, 0), (255, 255, 255)]
    assert edges != plain
    assert fit_control(plain, SIZE, "auto") == edges
    assert fit_control(edges, SIZE, "auto") == edges
    assert fit_control(plain, SIZE, "none") == plain
    assert fit_control(plain, SIZE, None) == plain

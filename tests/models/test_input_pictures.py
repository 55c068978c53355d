import numpy as np
import pytest
from PIL import Image

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

    fitted = fit_mask(mask, Image.new("RGB", (192, 96)), SIZE)

    assert fitted.getcolors() == [(64 * 96, 255)]


def test_a_mask_stays_black_and_white():
    mask = Image.fromarray(np.random.default_rng(0).integers(0, 2, (33, 77), dtype=np.uint8) * 255)

    assert {color for _, color in fit_mask(mask, Image.new("RGB", (500, 400)), SIZE).getcolors()} == {0, 255}


def test_outside_of_the_mask_the_picture_stays_and_inside_it_is_painted():
    painted = np.full((64, 64, 3), 10, np.uint8)
    picture = Image.new("RGB", (64, 64), (200, 200, 200))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))

    result = keep_unmasked(painted, picture, mask)

    assert (result[:, :28] == 10).all()
    assert (result[:, 48:] == 200).all()
    assert keep_unmasked(painted, picture, Image.new("L", (64, 64), 255)).max() == 10
    assert keep_unmasked(painted, picture, Image.new("L", (64, 64))).min() == 200


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

import numpy as np
import pytest
from PIL import Image

from io_managers.look import look_at
from tests.support.recipes import some_pixels


def test_a_blank_picture_spreads_nothing_and_a_painted_one_does():
    assert look_at(Image.new("RGB", (512, 512), "teal")).spread == 0.0
    assert look_at(Image.fromarray(some_pixels(3, 512, 512))).spread > 30


def test_noise_is_not_blank():
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)

    assert look_at(Image.fromarray(noise)).spread > 5


@pytest.mark.parametrize("size", [(64, 64), (64, 512), (500, 333), (1, 1)])
def test_equal_pixels_have_equal_fingerprints_and_others_do_not(size):
    pixels = some_pixels(1, *size)
    other = pixels.copy()
    other[: size[1] // 2 + 1, : size[0] // 2 + 1] ^= 64

    fingerprint = look_at(Image.fromarray(pixels)).fingerprint

    assert fingerprint == look_at(Image.fromarray(pixels.copy())).fingerprint
    assert fingerprint != look_at(Image.fromarray(other)).fingerprint
    assert len(fingerprint) == 32


def test_an_enlarged_picture_has_another_fingerprint():
    small = Image.new("RGB", (64, 64), "red")

    assert look_at(small).fingerprint != look_at(small.resize((128, 128))).fingerprint

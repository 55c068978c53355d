"""Upscaling keeps colours: measured as CIE 1976 colour difference (ISO/CIE 11664-4) over the whole gamut."""

import itertools

import numpy as np
import pytest
from PIL import Image

from models.colour_anchor import anchor_colours
from models.esrgan import load_upscaler
from training.run import BUILTIN

GAMUT = np.array(list(itertools.product((0, 64, 128, 192, 255), repeat=3)), np.uint8)
PATCH_PX, ACROSS = 16, 12


def lab(pixels):
    """CIELAB of sRGB pixels (…, 3), white D65."""
    levels = np.asarray(pixels, float) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = light @ np.transpose(matrix) / [0.95047, 1.0, 1.08883]
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def delta_e(one, other):
    return np.linalg.norm(lab(one) - lab(other), axis=-1)


def sheet():
    """Every colour of the gamut as a flat patch, side by side."""
    rows = -(-len(GAMUT) // ACROSS)
    tiles = np.zeros((rows * ACROSS, 3), np.uint8)
    tiles[: len(GAMUT)] = GAMUT
    return tiles.reshape(rows, ACROSS, 3).repeat(PATCH_PX, 0).repeat(PATCH_PX, 1)


def patches(picture, scale):
    """The middle of each patch of an enlarged sheet: its mean colour."""
    side, edge = PATCH_PX * scale, 6 * scale
    places = (divmod(number, ACROSS) for number in range(len(GAMUT)))
    return np.array(
        [
            picture[r * side + edge : (r + 1) * side - edge, c * side + edge : (c + 1) * side - edge].mean((0, 1))
            for r, c in places
        ]
    )


@pytest.mark.parametrize("scale", [2, 4])
def test_the_built_in_network_keeps_the_colour_of_flat_patches_of_the_whole_gamut(scale):
    enlarged = load_upscaler(BUILTIN / "upscaler.safetensors").upscale(sheet(), scale)
    assert delta_e(patches(enlarged, scale), GAMUT).max() <= 1


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (102, 0, 255), (204, 0, 51), (0, 0, 0)])
def test_every_pixel_of_a_saturated_picture_keeps_its_colour(colour):
    flat = np.full((12, 20, 3), colour, np.uint8)
    assert delta_e(load_upscaler(BUILTIN / "upscaler.safetensors").upscale(flat, 4), colour).max() <= 1


def dull(pixels):
    return pixels * [0.8, 0.9, 0.7] + [30, 10, 50]


def mixed(pixels):
    return pixels @ np.array([[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])


def crushed(pixels):
    return 255 * (pixels / 255) ** 1.6


@pytest.mark.parametrize("shift", [dull, mixed, crushed])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_whatever_a_network_does_to_colours_is_undone_and_its_detail_stays(shift, scale):
    picture = sheet()
    rows, columns = np.indices((picture.shape[0] * scale, picture.shape[1] * scale))
    detail = np.where((rows + columns) % 2, 9.0, -9.0)[..., None]
    painted = shift(picture.repeat(scale, 0).repeat(scale, 1).astype(float)) + (detail if scale > 1 else 0)
    enlarged = painted.clip(0, 255).round().astype(np.uint8)
    assert delta_e(patches(enlarged, scale), GAMUT).max() > 10

    anchor_colours(enlarged, picture)

    middle = ((GAMUT > 20) & (GAMUT < 235)).all(axis=1)  # elsewhere the detail itself is clipped
    assert delta_e(patches(enlarged, scale), GAMUT)[middle].max() <= 1
    if scale > 1:
        row, column = divmod(int(np.flatnonzero(middle)[0]), ACROSS)
        place = tuple(slice((at * PATCH_PX + 6) * scale, (at * PATCH_PX + 10) * scale) for at in (row, column))
        left = enlarged[place].astype(float) - enlarged[place].mean((0, 1))
        assert np.corrcoef(left.mean(2).ravel(), detail[place].ravel())[0, 1] > 0.9


def test_strips_leave_no_seam(monkeypatch):
    picture = np.random.default_rng(2).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    enlarged = np.array(Image.fromarray(255 - picture).resize((192, 256), Image.Resampling.BICUBIC))
    whole, striped = enlarged.copy(), enlarged.copy()
    anchor_colours(whole, picture)
    monkeypatch.setattr("models.colour_anchor._STRIP_PIXELS", 48 * 16 * 5)
    anchor_colours(striped, picture)
    assert np.abs(whole.astype(int) - striped).max() <= 1
    assert np.abs(whole.astype(int) - enlarged).max() > 20

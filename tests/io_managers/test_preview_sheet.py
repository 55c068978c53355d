import base64
import io
import re

import numpy as np
from PIL import Image

from io_managers.preview_sheet import MAX_CHARS, contact_sheet_markdown, make_tile


def noise(seed, width_px=300, height_px=200):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8))


def decoded(markdown):
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,(.*)\)$", markdown)[1])))


def test_the_sheet_is_an_inline_webp_picture():
    sheet = contact_sheet_markdown([make_tile(noise(seed)) for seed in range(8)])

    assert sheet.startswith("![contact sheet](data:image/webp;base64,")
    assert decoded(sheet).format == "WEBP"
    assert decoded(sheet).size == (6 * 100 + 4, 2 * 100 + 4)


def test_even_the_worst_pictures_fit_the_limit():
    sheet = contact_sheet_markdown([make_tile(noise(seed, 96, 96)) for seed in range(100)])

    assert len(sheet) <= MAX_CHARS
    assert decoded(sheet).size == (302, 202)


def test_a_tile_keeps_the_aspect_ratio_whatever_the_size():
    assert make_tile(noise(0, 2000, 1000)).size == (96, 48)
    assert make_tile(noise(0, 40, 20)).size == (40, 20)
    assert make_tile(noise(0, 3000, 8)).size == (96, 1)


def test_no_tiles_make_no_sheet():
    assert contact_sheet_markdown([]) == ""

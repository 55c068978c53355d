"""The README's sample pictures: ``python -m benchmarks.samples docs/pictures/samples.webp``."""

import sys
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.painting import Commission, paint
from models.esrgan import load_upscaler
from training.captions import plain_caption
from training.dataset import BACKGROUND_NAMES, COLOUR_NAMES
from training.renderer import PRODUCTS
from training.run import BUILTIN

COLUMNS = 7


def sample_grid() -> Image.Image:
    """Every product three times, in every colour and on every background, half of the prompts in Chinese, at 256 px.

    The seeds are the first ones, not chosen ones.
    """
    upscaler = load_upscaler(BUILTIN / "upscaler.safetensors", "cpu")
    colours, backgrounds = cycle(COLOUR_NAMES), cycle(BACKGROUND_NAMES)
    commissions = []
    for number, product in enumerate((*PRODUCTS, *PRODUCTS[::-1][:COLUMNS])):
        text = plain_caption(product, next(colours), next(backgrounds), "zh" if number % 2 else "en")
        commissions.append(Commission(text, number, {"resolution": "128x128"}))
    rows = -(-len(commissions) // COLUMNS)
    grid = np.zeros((rows * 256, COLUMNS * 256, 3), np.uint8)
    for number, picture in paint(commissions):
        top, left = number // COLUMNS * 256, number % COLUMNS * 256
        grid[top : top + 256, left : left + 256] = upscaler.upscale(picture.pixels, 2)
    return Image.fromarray(grid)


if __name__ == "__main__":
    sample_grid().save(Path(sys.argv[1]), quality=88)

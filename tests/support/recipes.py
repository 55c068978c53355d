"""Recipes and pictures for tests."""

import numpy as np

from models.recipe import Recipe
from models.request import Mode, Sampler

PLAIN = Recipe(
    text="a red mug",
    negative_text="",
    model="tiny",
    release="0" * 64,
    engine="eager/cpu/float32",
    mode=Mode.TEXT2IMG,
    width_px=64,
    height_px=64,
    steps=4,
    cfg_scale=4.0,
    sampler=Sampler.DDIM,
    seed=7,
    lora_name="",
    lora_weight=1.0,
    lora_digest="",
    strength=None,
    image_digest=None,
    mask_digest=None,
    control_digest=None,
)


def a_recipe(**changes):
    """A valid recipe with these fields changed."""
    return PLAIN.model_copy(update=changes)


def some_pixels(seed, width_px=64, height_px=64):
    """Smooth pixels, different for each seed: uint8 (H, W, 3)."""
    rows, columns = np.mgrid[0:height_px, 0:width_px]
    channels = [rows * (seed % 3 + 1), columns * (seed % 5 + 1), rows + columns + seed * 40]
    return np.stack(channels, axis=-1).astype(np.uint8)

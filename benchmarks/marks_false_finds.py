"""Whether the invisible mark is found where none is.

The pictures are renders of the built-in model's training, drawings, noise and, where scikit-image is installed,
cut-outs of the photographs that come with it.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np

from benchmarks.marks import Pixels, drawn_pictures, photographs
from models.marks.invisible import FALSE_FINDS, find_mark
from training.dataset import random_scenes
from training.renderer import render

UNMARKED = 10_000
SIDES_PX = (128, 128, 128, 192)
LIMITS = {"found where none is": 0.0, "bound of the chance": 1e-6}


def run(count: int = UNMARKED, seed: int = 0) -> dict[str, float]:
    """How many pictures there were, and in how many of them an identifier was found; another seed, other pictures."""
    kinds, found = Counter[str](), 0
    for kind, pixels in islice(_unmarked(np.random.default_rng([seed, 2])), count):
        kinds[kind] += 1
        found += find_mark(pixels) is not None
    return {**kinds, "found where none is": found, "bound of the chance": FALSE_FINDS}


def _unmarked(random: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    drawn = {side_px: drawn_pictures(side_px, random) for side_px in SIDES_PX}
    while True:
        for side_px in SIDES_PX:
            seed, style = int(random.integers(2**31)), str(random.choice(("photo", "sketch", "pastel")))
            (scene,) = random_scenes(1, (side_px, side_px), style, seed)
            yield "renders", render(scene).rgb
            yield "noise", random.integers(0, 256, (side_px, side_px, 3), np.uint8)
            # Of six, three are photographs if there are any.
            for place, pixels in enumerate(islice(drawn[side_px], 6)):
                yield "photographs" if photographs() and place < 3 else "drawings", pixels

"""Rendered pictures on disk: one uint8 array and one label table for each size and style."""

import random
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS, Scene, render

SIZES = ((128, 128), (128, 192), (192, 128), (192, 192))
"""(width, height) in px of the sizes the model is trained for; the first is the base size."""

COLOUR_NAMES, BACKGROUND_NAMES = tuple(COLOURS), tuple(BACKGROUNDS)


@dataclass(frozen=True)
class Renders:
    """Pictures and what they show.

    Attributes:
        rgb: (N, H, W, 3) uint8, memory-mapped.
        labels: (N, 4) int64: product, colour and background index, renderer seed.
    """

    rgb: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def names(self, index: int) -> tuple[str, str, str]:
        """Product, colour and background of one picture, in words."""
        product, colour, background, _ = self.labels[index]
        return PRODUCTS[product], COLOUR_NAMES[colour], BACKGROUND_NAMES[background]


def random_scenes(count: int, size: tuple[int, int], style: str, seed: int) -> list[Scene]:
    """Scenes in which every product, colour and background is as frequent as any other."""
    rng = random.Random(f"{seed}/{size}/{style}")
    combinations = [(p, c, b) for p in PRODUCTS for c in COLOUR_NAMES for b in BACKGROUND_NAMES]
    scenes: list[Scene] = []
    while len(scenes) < count:
        rng.shuffle(combinations)
        for product, colour, background in combinations[: count - len(scenes)]:
            scenes.append(Scene(product, colour, background, *size, rng.randrange(2**31), style))
    return scenes


def load_or_render(
    folder: Path, count: int, size: tuple[int, int] = (128, 128), style: str = "photo", seed: int = 0, workers: int = 2
) -> Renders:
    """The renders of this description, made on first use and kept in ``folder``."""
    stem = folder / f"{style}_{size[0]}x{size[1]}_{count}_{seed}"
    pictures, labels = stem.with_suffix(".rgb.npy"), stem.with_suffix(".labels.npy")
    if not labels.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scenes = random_scenes(count, size, style, seed)
        array = np.lib.format.open_memmap(pictures, "w+", np.uint8, (count, size[1], size[0], 3))
        with ProcessPoolExecutor(workers) as pool:
            for index, picture in enumerate(pool.map(_rgb, scenes, chunksize=64)):
                array[index] = picture
        array.flush()
        np.save(labels, np.array([_labels(scene) for scene in scenes], dtype=np.int64))
    return Renders(np.load(pictures, mmap_mode="r"), np.load(labels))


def _rgb(scene: Scene) -> npt.NDArray[np.uint8]:
    return render(scene).rgb


def _labels(scene: Scene) -> tuple[int, int, int, int]:
    return (
        PRODUCTS.index(scene.product),
        COLOUR_NAMES.index(scene.colour),
        BACKGROUND_NAMES.index(scene.background),
        scene.seed,
    )

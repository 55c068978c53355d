"""Pictures on disk in shards: each shard is made from its number alone, so that rendering resumes anywhere."""

import io
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.scenes.backdrops import backdrop
from training.scenes.developing import Finish, develop, linear
from training.scenes.palette import BACKDROPS, COLOURLESS, COLOURS, ONE_SIDED, OWN_COLOUR, PALE, SURROUNDINGS
from training.scenes.products import MODELS
from training.scenes.studio import Layers, random_view, shoot

Random = np.random.Generator
PRODUCTS, COLOUR_NAMES = tuple(MODELS), (*COLOURS, OWN_COLOUR)
SHOTS, PRINTS = 25, 8
"""Scenes traced for a shard, one of each product, and pictures developed from each."""
LABELS = ("product", "colour", "backdrop", "shadow", "close-up")
JPEG_QUALITY = 95


@dataclass(frozen=True)
class Shard:
    """Pictures of one size and what they show.

    Attributes:
        rgb: (N, H, W, 3) uint8.
        labels: (N, 5) int64: indices of product, colour and backdrop, then 1 or 0 for a shadow and for a close-up.
    """

    rgb: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def make_shard(number: int, size: tuple[int, int], seed: int = 0) -> Shard:
    """Render shard `number` of pictures of (width, height) px: SHOTS × PRINTS of them."""
    pictures, labels = [], []
    for product in PRODUCTS:
        rng = np.random.default_rng([seed, number, *size, PRODUCTS.index(product)])
        for picture, label in prints(product, size, rng):
            pictures.append(picture)
            labels.append(label)
    return Shard(np.stack(pictures), np.array(labels, np.int64))


def prints(
    product: str, size: tuple[int, int], rng: Random, count: int = PRINTS
) -> list[tuple[npt.NDArray[np.uint8], list[int]]]:
    """Pictures of one traced scene in several colours before several backdrops, with their labels."""
    model = MODELS[product](rng)
    view = random_view(model, rng)
    close = rng.random() < 0.08
    if close:
        # Of the upper half rather: that is where most products have what tells them.
        view = replace(view, fill=rng.uniform(1.2, 1.6), shift=(rng.uniform(-0.1, 0.1), rng.uniform(-0.25, 0.02)))
    layers = shoot(model, view, size, int(rng.integers(2**31)))
    results = []
    for _ in range(count):
        colour = OWN_COLOUR if product in COLOURLESS else str(rng.choice(list(COLOURS)))
        behind = _random_backdrop(rng)
        shadow = bool(rng.random() > 0.14)
        picture = _print(layers, colour, behind, shadow, rng)
        if product not in ONE_SIDED and rng.random() < 0.5:
            picture = picture[:, ::-1]
        labels = [PRODUCTS.index(product), COLOUR_NAMES.index(colour), BACKDROPS.index(behind), int(shadow), int(close)]
        results.append((picture, labels))
    return results


def _random_backdrop(rng: Random) -> str:
    """White in two of five pictures; else any colour, any pale colour or any surroundings."""
    kind = rng.random()
    if kind < 0.4:
        return "white"
    options = list(COLOURS) if kind < 0.66 else list(PALE) if kind < 0.8 else list(SURROUNDINGS)
    return str(rng.choice(options))


def _print(layers: Layers, colour: str, behind: str, shadow: bool, rng: Random) -> npt.NDArray[np.uint8]:
    rgb = linear(COLOURS.get(colour, (200, 200, 200)))
    rgb = np.clip(rgb * rng.uniform(0.9, 1.1) + rng.normal(0, 0.004, 3), 0.003, 0.95).astype(np.float32)
    plain = behind not in SURROUNDINGS
    finish = Finish(
        shadow=rng.uniform(0.6, 1.0) if shadow else 0.0,
        exposure=rng.uniform(0.8, 0.96),
        warmth=0.0 if plain else rng.uniform(-0.02, 0.05),
        vignette=0.0 if plain else rng.uniform(0, 0.15),
        grain=rng.uniform(0.001, 0.006),
        blur=rng.choice([0.0, 0.3, 0.5]),
        seed=int(rng.integers(2**31)),
    )
    return develop(layers, rgb, backdrop(behind, layers.ground, rng), finish)


def shard_file(folder: Path, size: tuple[int, int], number: int) -> Path:
    return folder / f"{size[0]}x{size[1]}" / f"{number:05d}.npz"


def write_shard(folder: Path, size: tuple[int, int], seed: int, number: int) -> None:
    """Render one shard into its file, whole or not at all; nothing if it is there."""
    file = shard_file(folder, size, number)
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    shard = make_shard(number, size, seed)
    coded = [_jpeg(picture) for picture in shard.rgb]
    partial_file = file.with_suffix(".partial.npz")
    ends = np.cumsum([len(code) for code in coded])
    np.savez(partial_file, jpeg=np.frombuffer(b"".join(coded), np.uint8), ends=ends, labels=shard.labels)
    partial_file.replace(file)


def _jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return target.getvalue()


def read_shard(file: Path) -> Shard:
    """The pictures of one file."""
    with np.load(file) as stored:
        codes, ends, labels = stored["jpeg"].tobytes(), stored["ends"], stored["labels"]
    starts = [0, *ends[:-1]]
    pictures = [np.asarray(Image.open(io.BytesIO(codes[a:b]))) for a, b in zip(starts, ends, strict=True)]
    return Shard(np.stack(pictures), labels)


def shard_writer(folder: Path, size: tuple[int, int], seed: int) -> "partial[None]":
    """`write_shard` for one folder, to map over numbers in several processes."""
    return partial(write_shard, folder, size, seed)

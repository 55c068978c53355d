"""What stands behind and under a product: plain paper, a wooden table, cloth, a garden out of focus."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from training.scenes.bvh import Floats
from training.scenes.developing import linear
from training.scenes.palette import BACKDROP_COLOURS

Random = np.random.Generator


def backdrop(name: str, ground: Floats, rng: Random) -> Floats:
    """Linear reflectance (H, W, 3) of the named backdrop, given where each pixel meets floor or wall."""
    if name == "wooden table":
        return _wood(ground, rng)
    if name == "fabric":
        return _fabric(ground, rng)
    if name == "outdoors":
        return _outdoors(ground, rng)
    return _paper(name, ground, rng)


def _paper(name: str, ground: Floats, rng: Random) -> Floats:
    """One colour, a little varied, often a little darker towards one side; pure white stays white."""
    colour = linear(BACKDROP_COLOURS[name])
    height, width = ground.shape[:2]
    if name == "white":
        return np.ones((height, width, 3), np.float32)
    colour = np.clip(colour * rng.uniform(0.92, 1.06) + rng.normal(0, 0.006, 3), 0.004, 1)
    y = np.linspace(-1, 1, height)[:, None, None] * rng.uniform(-0.08, 0.08)
    x = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(-0.04, 0.04)
    return np.asarray(colour * (1 + x + y), np.float32)


def _tile(rng: Random, along: float, across: float, side: int = 256) -> Floats:
    """Noise (side, side) with mean 0 and deviation 1 that repeats at its edges."""
    sheet = gaussian_filter(rng.standard_normal((side, side)), (across, along), mode="wrap")
    return np.asarray((sheet - sheet.mean()) / sheet.std(), np.float32)


def _sampled(tile: Floats, u: Floats, v: Floats) -> Floats:
    return np.asarray(map_coordinates(tile, [v.ravel(), u.ravel()], order=1, mode="grid-wrap").reshape(u.shape))


def _wood(ground: Floats, rng: Random) -> Floats:
    """Planks with grain; the wall behind is a soft dark blur of the same tone."""
    tones = np.array([(0.42, 0.24, 0.12), (0.6, 0.42, 0.25), (0.2, 0.11, 0.06), (0.5, 0.36, 0.24)])
    tone = tones[rng.integers(len(tones))] * rng.uniform(0.85, 1.15)
    turn = rng.uniform(-0.3, 0.3)
    u = ground[..., 0] * np.cos(turn) + ground[..., 1] * np.sin(turn)
    v = -ground[..., 0] * np.sin(turn) + ground[..., 1] * np.cos(turn)
    plank = np.floor(v / 0.34)
    shift = 97 * plank
    grain = _sampled(_tile(rng, 26, 1.0), 90 * u + shift, 110 * v + shift)
    broad = _sampled(_tile(rng, 40, 5), 60 * u + shift, 60 * v + shift)
    gap = np.abs(v / 0.34 - plank - 0.5) > 0.485
    own = 0.12 * np.sin(12.9898 * plank)
    value = np.clip(1 + 0.13 * grain + 0.16 * broad + own, 0.35, 1.7) * np.where(gap, 0.45, 1)
    floor = tone * value[..., None]
    wall = np.array([0.7, 0.67, 0.62]) * rng.uniform(0.5, 1.1) if rng.random() < 0.6 else tone * 0.5
    return np.asarray(np.where(ground[..., 2:] > 0, floor, np.ones_like(floor) * wall), np.float32)


def _fabric(ground: Floats, rng: Random) -> Floats:
    """Cloth with soft folds and a visible weave."""
    tones = np.array([(0.75, 0.7, 0.6), (0.55, 0.55, 0.55), (0.62, 0.5, 0.42), (0.4, 0.46, 0.52), (0.8, 0.78, 0.74)])
    tone = tones[rng.integers(len(tones))]
    u, v = ground[..., 0], ground[..., 1]
    folds = _sampled(_tile(rng, 30, 9), 70 * u + 40 * v, 70 * v)
    thread = _sampled(_tile(rng, 1.0, 1.0), 150 * u, 150 * v)
    value = np.clip(1 + 0.17 * folds + 0.06 * thread, 0.4, 1.5)
    return np.asarray(tone * value[..., None], np.float32)


def _outdoors(ground: Floats, rng: Random) -> Floats:
    """Leaves, light spots and sky far out of focus, above a table or a terrace in the sun."""
    height, width = ground.shape[:2]
    picture = np.zeros((height, width, 3))
    palette = np.array(
        [(0.1, 0.24, 0.05), (0.2, 0.36, 0.08), (0.05, 0.13, 0.04), (0.55, 0.66, 0.35), (0.55, 0.72, 0.9)]
    )
    y, x = np.mgrid[:height, :width] / max(height, width)
    picture += palette[rng.integers(3)]
    for _ in range(26):
        cx, cy, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.04, 0.2)
        spot = np.clip((r - np.hypot(x - cx, y - cy)) / (0.25 * r), 0, 1)[..., None] * rng.uniform(0.2, 0.7)
        picture += spot * (palette[rng.integers(5)] * rng.uniform(0.8, 1.3) - picture)
    picture = gaussian_filter(picture, (0.02 * height, 0.02 * width, 0))
    if not ground[..., 2].any():
        return np.asarray(picture, np.float32)
    floor = _wood(ground, rng) * 1.1 if rng.random() < 0.6 else np.ones_like(picture) * rng.uniform(0.4, 0.7)
    share = gaussian_filter((ground[..., 2] > 0).astype(float), 2)[..., None]
    return np.asarray(picture + share * (floor - picture), np.float32)

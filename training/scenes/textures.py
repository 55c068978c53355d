"""Noise in space, and what it does to surfaces: grain, weave, relief."""

import numpy as np

from training.scenes.bvh import Floats, jit
from training.scenes.materials import BUMP, BUMP_FREQUENCY, GRAIN, NOISE, NOISE_FREQUENCY

STEP = 0.35
"""Of the noise's lattice, between the points whose difference is the relief's slope."""


@jit
def _hash(x: int, y: int, z: int) -> float:
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263) + np.uint32(z) * np.uint32(2246822519)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(2654435769)
    return float((h >> np.uint32(8)) & np.uint32(0xFFFFFF)) / 16777216.0


@jit
def noise(x: float, y: float, z: float) -> float:
    """Value noise in [0, 1], smooth between the points of a lattice."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    i, j, k = np.int64(fx), np.int64(fy), np.int64(fz)
    total = 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                weight = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                total += weight * _hash(i + a, j + b, k + c)
    return total


@jit
def texture(material: Floats, x: float, y: float, z: float) -> float:
    """Factor of the albedo at a point of the texture's space."""
    f = material[NOISE_FREQUENCY]
    if material[GRAIN] == 1:  # wood: rings about a line along y
        r = np.sqrt(x * x + z * z) * f + 1.5 * noise(3 * x, 0.6 * y, 3 * z)
        value = 0.6 * (r - np.floor(r)) + 0.4 * noise(40 * x, 3 * y, 40 * z)
    elif material[GRAIN] == 2:  # weave
        value = 0.5 + 0.25 * np.sin(f * x) * np.sin(f * y) + 0.25 * noise(0.2 * f * x, 0.2 * f * y, 0.2 * f * z)
    elif material[GRAIN] == 3:  # vertical streaks, as of denim
        value = 0.55 * noise(f * x, 0.12 * f * y, f * z) + 0.45 * noise(0.1 * f * x, 0.1 * f * y, 0.1 * f * z)
    else:
        value = 0.6 * noise(f * x, f * y, f * z) + 0.4 * noise(2.3 * f * x, 2.3 * f * y, 2.3 * f * z)
    return 1 + material[NOISE] * (value - 0.5) * 2


@jit
def relief(material: Floats, x: float, y: float, z: float) -> tuple[float, float, float]:
    """What a material's relief takes from the normal at a point of the texture's space."""
    f, strength = material[BUMP_FREQUENCY], material[BUMP]
    x, y, z = f * x, f * y, f * z
    here = noise(x, y, z)
    return (
        strength * (noise(x + STEP, y, z) - here),
        strength * (noise(x, y + STEP, z) - here),
        strength * (noise(x, y, z + STEP) - here),
    )

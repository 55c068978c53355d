"""Materials of the products, as rows of the tracer's table."""

from dataclasses import dataclass

import numpy as np

from training.scenes.bvh import Floats

COLOURED, RED, GREEN, BLUE, ROUGH, METAL, GLASS, BUMP, BUMP_FREQUENCY, NOISE, NOISE_FREQUENCY, GRAIN, SHEEN = range(13)
"""Columns of the tracer's table of materials."""
GRAINS = {"cloud": 0, "wood": 1, "weave": 2, "denim": 3}


@dataclass(frozen=True)
class Material:
    """How a surface takes light.

    Attributes:
        rgb: own reflectance, linear, [0, 1]; of the "main" material the factor of the asked colour.
        coloured: whether the asked colour multiplies `rgb`.
        rough: 0 mirror to 1 matt.
        metal: reflects in its own colour only.
        glass: index of refraction, 0 for opaque.
        bump, bump_frequency: strength of small relief and its frequency per unit.
        noise, noise_frequency, grain: relative variation of the reflectance.
        sheen: brightening at grazing angles, as of cloth.
    """

    rgb: tuple[float, float, float] = (1, 1, 1)
    coloured: bool = False
    rough: float = 0.5
    metal: bool = False
    glass: float = 0.0
    bump: float = 0.0
    bump_frequency: float = 60.0
    noise: float = 0.0
    noise_frequency: float = 20.0
    grain: str = "cloud"
    sheen: float = 0.0

    def row(self) -> list[float]:
        return [
            float(self.coloured), *self.rgb, self.rough, float(self.metal), self.glass, self.bump, self.bump_frequency,
            self.noise, self.noise_frequency, float(GRAINS[self.grain]), self.sheen,
        ]  # fmt: skip


def glossy(rough: float = 0.15) -> Material:
    """Glazed ceramics, lacquer or shiny plastic in the asked colour."""
    return Material(coloured=True, rough=rough)


def cloth(bump: float = 0.35, bump_frequency: float = 90, sheen: float = 0.5) -> Material:
    """A matt woven stuff in the asked colour."""
    return Material(
        coloured=True,
        rough=1.0,
        bump=bump,
        bump_frequency=bump_frequency,
        noise=0.08,
        noise_frequency=60,
        sheen=sheen,
    )


LEATHER = Material(coloured=True, rough=0.45, bump=0.25, bump_frequency=70, noise=0.06, noise_frequency=30)
STANDARD = {
    "white": Material((0.85, 0.85, 0.84), rough=0.5),
    "black": Material((0.02, 0.02, 0.022), rough=0.4),
    "rubber": Material((0.03, 0.03, 0.03), rough=0.8),
    "grey": Material((0.3, 0.3, 0.31), rough=0.6),
    "steel": Material((0.75, 0.75, 0.77), rough=0.25, metal=True),
    "brass": Material((0.83, 0.6, 0.27), rough=0.25, metal=True),
    "wood": Material((0.42, 0.24, 0.12), rough=0.5, noise=0.3, noise_frequency=9, grain="wood"),
    "pale wood": Material((0.62, 0.43, 0.25), rough=0.5, noise=0.22, noise_frequency=9, grain="wood"),
    "glass": Material((0.9, 0.93, 0.92), glass=1.5),
    "leather": Material((0.22, 0.11, 0.05), rough=0.5, bump=0.2),
    "coffee": Material((0.06, 0.025, 0.01), rough=0.1),
}


def table(materials: list[Material]) -> Floats:
    """(materials, columns) for the tracer."""
    return np.array([material.row() for material in materials], np.float32)

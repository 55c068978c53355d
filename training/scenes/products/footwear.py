"""Sneakers."""

from itertools import pairwise

import numpy as np

from training.scenes.materials import Material
from training.scenes.shapes import Mesh, Points, block, loft, rounded, spline, surface, tube
from training.scenes.studio import Model

Random = np.random.Generator

TOP = np.array(
    [
        (-0.5, 0.27),
        (-0.485, 0.35),
        (-0.45, 0.395),
        (-0.36, 0.37),
        (-0.22, 0.335),
        (-0.12, 0.365),
        (0.0, 0.32),
        (0.12, 0.255),
        (0.26, 0.2),
        (0.38, 0.18),
        (0.45, 0.155),
        (0.485, 0.12),
        (0.5, 0.07),
    ]
)
WIDE = np.array(
    [
        (-0.5, 0.04),
        (-0.47, 0.085),
        (-0.36, 0.115),
        (-0.1, 0.115),
        (0.1, 0.14),
        (0.27, 0.16),
        (0.4, 0.135),
        (0.47, 0.085),
        (0.5, 0.03),
    ]
)


def _skin(x: Points, t: Points, out: float = 0.0) -> Points:
    """Points on the upper at lengths `x` and angles `t` in [0, pi] around it, `out` beyond it."""
    top, wide = np.interp(x, *TOP.T), np.interp(x, *WIDE.T)
    slim = 1 - 0.45 * np.clip(np.sin(t), 0, 1) ** 2 * np.clip((0.2 - x) / 0.4, 0, 1)
    y = 0.05 + (top - 0.05 + out) * np.sin(t) ** 0.75
    z = (wide + out) * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.75 * slim
    return np.stack([x + 0 * t, y, z], -1)


def sneaker(rng: Random) -> Model:
    """A running shoe in profile: upper, white midsole, dark outsole, laces, tongue, stripes."""
    x = np.concatenate([np.linspace(-0.5, -0.42, 10), np.linspace(-0.4, 0.4, 50), np.linspace(0.42, 0.5, 12)])
    t = np.linspace(0, np.pi, 40)
    upper = loft([_skin(np.full_like(t, k), t) for k in x])
    panels = [_patch(-0.499, -0.33, 0, 1, 0.62, -0.35), _patch(0.36, 0.499, 0, 1, 1, 0.3)]
    panels += [_patch(-0.09, 0.2, low, high, 1, 0) for low, high in ((0.24, 0.37), (0.63, 0.76))]
    meshes = [upper, *_sole(rng), *_opening(), *_laces(), *_stripes(), *panels]
    turn = (-35, 35) if rng.random() < 0.5 else (145, 215)
    return Model(meshes, _materials(rng), turn=turn, raise_=(6, 28), fill=(0.8, 0.93))


def _materials(rng: Random) -> dict[str, Material]:
    pale = rng.random() < 0.75
    panel = (
        Material((0.5, 0.5, 0.5), coloured=True, rough=0.6, bump=0.1),
        Material((0.75, 0.75, 0.75), rough=0.6),
        Material((0.05, 0.05, 0.05), rough=0.6),
    )[rng.choice(3, p=(0.25, 0.5, 0.25))]
    return {
        "main": Material(
            coloured=True, rough=0.8, bump=0.35, bump_frequency=80, noise=0.08, noise_frequency=60, sheen=0.3
        ),
        "lace": Material((0.82, 0.82, 0.8) if pale else (0.04, 0.04, 0.04), rough=1),
        "panel": panel,
        "stripe": Material((0.85, 0.85, 0.85) if pale else (0.03, 0.03, 0.03), rough=0.5),
    }


def _opening() -> list[Mesh]:
    """The padded collar, the dark inside below it and the tongue."""
    side = [(-0.38, 0.38, 0.06), (-0.25, 0.35, 0.062), (-0.15, 0.37, 0.03)]
    other = [(x, y, -z) for x, y, z in reversed(side)]
    collar = spline([(-0.465, 0.395, 0), *side, *other], 60, closed=True)
    middle = np.repeat(collar.mean(0)[None] + [0, -0.01, 0], len(collar), 0)
    inside = surface(np.stack([collar + [0, 0.006, 0], middle]), wrap_columns=True).of("black")
    tongue = block(0.17, 0.026, 0.1, 0.013).turned("z", 122).moved(-0.115, 0.4, 0)
    return [tube(collar, 0.017, closed=True, sides=14), inside, tongue]


def _laces() -> list[Mesh]:
    """Rows of laces across the instep, and those that lead from row to row."""
    rows = np.linspace(-0.06, 0.17, 6)
    around = np.linspace(0.36 * np.pi, 0.64 * np.pi, 16)
    across = [tube(_skin(np.full(16, x), around, 0.012), 0.0115, sides=10).of("lace") for x in rows]
    leading = [tube(_skin(np.linspace(a, b, 16), around, 0.016), 0.01, sides=10).of("lace") for a, b in pairwise(rows)]
    return across + leading


def _stripes() -> list[Mesh]:
    """Three bars on either side of the upper."""
    s = np.linspace(0, 1, 20)
    return [
        tube(_skin(-0.2 + 0.08 * k + 0.1 * s, np.pi * (low + (high - low) * s), 0.003), 0.014, flat=0.5).of("stripe")
        for low, high in ((0.1, 0.3), (0.9, 0.7))
        for k in range(3)
    ]


def _patch(start: float, stop: float, low: float, high: float, tall: float, slant: float) -> Mesh:
    """A piece of stuff sewn on the upper between two lengths and two angles (in half turns)."""
    s, t = np.meshgrid(np.linspace(0, 1, 24), np.pi * np.linspace(low, high, 40), indexing="ij")
    if tall < 1:
        t = np.where(t < np.pi / 2, t * tall, np.pi - (np.pi - t) * tall)
    x = start + (stop - start) * s + slant * 0.3 * (np.sin(t)) * (s if slant < 0 else 1 - s)
    return surface(_skin(x, t, 0.004)).of("panel")


def _sole(rng: Random) -> list[Mesh]:
    x = np.concatenate([np.linspace(-0.53, -0.45, 12), np.linspace(-0.43, 0.43, 40), np.linspace(0.45, 0.535, 14)])
    wide = np.interp(x / 1.06, *WIDE.T) + 0.014
    wide[[0, -1]] *= 0.55
    lift = 0.05 * np.clip((x - 0.25) / 0.28, 0, 1) ** 2 + 0.02 * np.clip((-x - 0.4) / 0.13, 0, 1) ** 2
    tall = np.interp(x, [-0.53, -0.2, 0.2, 0.53], [rng.uniform(0.13, 0.17), 0.13, 0.1, 0.09])
    ring = rounded(np.array([[-1, 0], [1, 0], [0.93, 1], [-0.93, 1]]), 2, closed=True, cut=0.12)

    def layer(low: float, high: float, out: float, name: str) -> Mesh:
        sections = [
            np.stack(
                [np.full(len(ring), k), u + (low + (high - low) * ring[:, 1]) * h - 0.02, (w + out) * ring[:, 0]], 1
            )
            for k, w, u, h in zip(x, wide, lift, tall, strict=True)
        ]
        return loft(sections).of(name)

    return [layer(0.2, 1, 0, "white"), layer(0, 0.24, 0.003, "rubber")]

"""T-shirts, dresses and jeans."""

from collections.abc import Callable

import numpy as np

from training.scenes.materials import Material, cloth
from training.scenes.shapes import (
    Mesh,
    Points,
    block,
    creases,
    inflate,
    lathe,
    rounded,
    spline,
    surface,
    tube,
)
from training.scenes.studio import Model

Random = np.random.Generator
Folds = Callable[[Points, Points, Points], Points]


def t_shirt(rng: Random) -> Model:
    w, hem, sleeve = rng.uniform(0.38, 0.42), rng.uniform(-0.72, -0.62), rng.uniform(0.0, 0.08)
    dip = rng.uniform(0.44, 0.5)
    right = [
        (0.16, 0.62),
        (0.44, 0.53),
        (0.76, 0.12 - sleeve),
        (0.58, 0.0 - sleeve),
        (0.43, 0.2),
        (w, -0.2),
        (w + 0.015, hem),
    ]
    side = rounded(np.array(right), 2, cut=0.08)
    left = (side * [-1, 1])[::-1]
    front_neck = spline([(-0.16, 0.62), (-0.11, dip + 0.03), (0, dip), (0.11, dip + 0.03), (0.16, 0.62)], 30)
    back_neck = spline([(-0.16, 0.62), (0, 0.575), (0.16, 0.62)], 20)
    bottom = spline([(w, hem), (0, hem - 0.025), (-w, hem)], 20)
    folds = _folds(rng, 0.035)
    front = inflate(np.concatenate([side, bottom, left, front_neck]), 0.07, 0.16, folds=folds, back=0.4)
    rear = inflate(np.concatenate([side, bottom, left, back_neck]), 0.02, 0.1, cells=80).moved(z=-0.045)
    collar = _raised(front_neck, 0.02, 0.024)
    meshes = [front, rear, collar, _raised(back_neck, -0.05, 0.02)]
    return Model(meshes, {"main": cloth()}, turn=(-14, 14), raise_=(-6, 8), stands=False, fill=(0.8, 0.93))


def _raised(line: Points, z: float, radius: float) -> Mesh:
    """A rib along a line in the plane."""
    return tube(np.column_stack([line, np.full(len(line), z)]), radius, sides=10)


def _folds(rng: Random, height: float, along: float = 22, across: float = 5) -> Folds:
    """A function of (x, y, distance from the edge) that gives random folds, more at the hem."""
    one = creases(rng, (256, 256), along, across)
    two = creases(rng, (256, 256), 7, 14)
    tilt = rng.uniform(-0.5, 0.5)

    def folds(x: Points, y: Points, distance: Points) -> Points:
        u = np.clip(((x + tilt * y) * 0.5 + 0.5) * 255, 0, 255).astype(int)
        v = np.clip((y * 0.5 + 0.5) * 255, 0, 255).astype(int)
        height_here: Points = height * (one[v, u] * np.clip(0.7 - y, 0.3, 1.3) + 0.4 * two[v, u])
        return height_here

    return folds


def dress(rng: Random) -> Model:
    """A sleeveless dress with a flared skirt, as on an invisible mannequin."""
    long = rng.uniform(0.8, 1.25)
    flare = rng.uniform(0.42, 0.6)
    waist, bust = rng.uniform(0.155, 0.175), rng.uniform(0.2, 0.215)
    profile = spline(
        [
            (flare, -long),
            (0.72 * flare, -0.6 * long),
            (0.42 * flare + 0.06, -0.2 * long),
            (waist, 0.0),
            (waist + 0.02, 0.1),
            (bust, 0.26),
            (bust - 0.012, 0.36),
        ],
        110,
    )
    a = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    count, phase = int(rng.integers(7, 13)), rng.uniform(0, 6)
    r, y = profile[:, :1], profile[:, 1:]
    down = np.clip(-y / long, 0, 1) ** 0.8
    wander = creases(rng, (len(profile), len(a)), 30, 9)
    wave = np.cos(count * a[None] + phase + 2.5 * wander) + 0.35 * np.cos((2 * count + 3) * a[None] + 2 * phase)
    r = r * (1 + 0.13 * down * wave) + 0.006 * creases(rng, wander.shape, 3, 12) * (1 - down)
    bodice = surface(
        np.stack([r * np.cos(a), y + 0 * a[None] + 0.02 * down * wave, r * np.sin(a) * 0.66], -1), wrap_columns=True
    )
    straps = []
    for x in (-1, 1):
        path = spline(
            [
                (x * 0.12, 0.33, 0.115),
                (x * 0.125, 0.5, 0.06),
                (x * 0.125, 0.54, 0.0),
                (x * 0.12, 0.5, -0.07),
                (x * 0.11, 0.34, -0.115),
            ],
            30,
        )
        straps.append(tube(path, rng.uniform(0.03, 0.045) if x < 0 else 0.04, flat=0.2, up=(0, 0.5, 1)))
    belt = tube(
        np.stack([(waist + 0.006) * np.cos(a[::3]), 0.0 * a[::3] + 0.01, 0.66 * (waist + 0.006) * np.sin(a[::3])], 1),
        0.012,
        flat=2.0,
        closed=True,
        up=(0, 1, 0),
    )
    meshes = [bodice, *straps] + ([belt] if rng.random() < 0.6 else [])
    return Model(
        meshes,
        {"main": cloth(bump=0.12, sheen=0.6)},
        turn=(-35, 35),
        raise_=(-4, 8),
        stands=False,
        fill=(0.84, 0.95),
    )


def jeans(rng: Random) -> Model:
    hem, wide = rng.uniform(0.1, 0.14), rng.uniform(0.0, 0.05)
    right = [
        (0.23, 0.62),
        (0.25, 0.5),
        (0.3, 0.25),
        (0.29 + wide, -0.2),
        (0.25 + wide, -1.0),
        (0.25 + wide - 2 * hem, -1.0),
        (0.05, -0.2),
        (0.008, 0.12),
    ]
    side = rounded(np.array(right), 2, cut=0.12)
    outline = np.concatenate([side, (side * [-1, 1])[::-1]])
    body = inflate(outline, 0.085, 0.14, folds=_folds(rng, 0.022, 5, 12), cells=170)
    band = block(0.475, 0.06, 0.14, 0.02).moved(y=0.61)
    inside = block(0.42, 0.01, 0.1, 0.004).moved(y=0.641).of("black")
    loops = [block(0.018, 0.085, 0.012, 0.004).moved(x, 0.605, 0.073) for x in (-0.17, -0.075, 0.075, 0.17)]
    stitch = [_on(spline([(x * 0.1, 0.575), (x * 0.13, 0.5), (x * 0.25, 0.46)], 20), 0.09) for x in (-1, 1)]
    fly = [
        _on(spline([(0.0, 0.575), (0.0, 0.32)], 12), 0.088),
        _on(spline([(0.05, 0.575), (0.05, 0.4), (0.0, 0.3)], 20), 0.088),
    ]
    hems = [
        _on(spline([(x * (0.25 + wide), -0.965), (x * (0.25 + wide - 2 * hem), -0.965)], 12), 0.075) for x in (-1, 1)
    ]
    button = lathe([(0.017, 0), (0.017, 0.01), (0, 0.014)], 20).turned("x", 90).moved(y=0.61, z=0.073).of("brass")
    denim = Material(
        coloured=True, rough=1.0, bump=0.4, bump_frequency=85, noise=0.28, noise_frequency=75, grain="denim", sheen=0.3
    )
    own = {"main": denim, "thread": Material((0.5, 0.25, 0.06), rough=1.0)}
    meshes = [body, band, inside, *loops, *stitch, *fly, *hems, button]
    return Model(meshes, own, turn=(-14, 14), raise_=(-4, 8), stands=False, fill=(0.86, 0.95))


def _on(line: Points, z: float) -> Mesh:
    return tube(np.column_stack([line, np.full(len(line), z)]), 0.005, sides=8).of("thread")

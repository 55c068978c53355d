"""Backpacks and handbags."""

from collections.abc import Callable

import numpy as np

from training.scenes.materials import LEATHER, Material, cloth
from training.scenes.shapes import Points, block, lathe, spline, tube
from training.scenes.studio import Model

Random = np.random.Generator


def _domed(amount: float) -> Callable[[Points], Points]:
    """Bends a box so that it narrows and leans back towards its top."""

    def warp(p: Points) -> Points:
        x, y, z = p.T.copy()
        up = np.clip((y - 0.1) / 0.35, 0, 1)
        x = x * (1 - amount * up**2)
        z = z * (1 - 0.45 * up**2) - 0.02 * up
        return np.stack([x, y - 0.05 * up * (x / 0.3) ** 2, z], 1)

    return warp


def backpack(rng: Random) -> Model:
    w, h = rng.uniform(0.56, 0.64), rng.uniform(0.82, 0.92)
    body = block(w, h, 0.3, 0.13, 14, 0.03).warped(_domed(0.25))
    pocket = block(0.8 * w, 0.4, 0.14, 0.06, 14, 0.025).moved(0, -0.2, 0.18)
    flap = block(0.76 * w, 0.012, 0.1, 0.006).moved(0, 0.0, 0.2).of("trim")
    upper = block(0.62 * w, 0.2, 0.1, 0.045, 12, 0.015).turned("x", -9).moved(0, 0.16, 0.155)
    sides = [block(0.07, 0.3, 0.18, 0.03, 10, 0.015).moved(x * (0.5 * w + 0.025), -0.24, 0.02) for x in (-1, 1)]
    zip_path = spline(
        [
            (-0.44 * w, -0.1, 0.14),
            (-0.42 * w, 0.2, 0.12),
            (-0.3 * w, 0.38, 0.08),
            (0, 0.43, 0.06),
            (0.3 * w, 0.38, 0.08),
            (0.42 * w, 0.2, 0.12),
            (0.44 * w, -0.1, 0.14),
        ],
        60,
    )
    zipper = tube(zip_path, 0.012, sides=8).of("trim")
    pulls = [
        block(0.012, 0.045, 0.01, 0.004).moved(x, y, z).of("trim")
        for x, y, z in ((0.2 * w, -0.03, 0.262), (0.28 * w, 0.3, 0.15))
    ]
    grip = tube(
        spline([(-0.09, 0.41, -0.05), (-0.08, 0.52, -0.06), (0.08, 0.52, -0.06), (0.09, 0.41, -0.05)], 30),
        0.018,
        flat=1.5,
    ).of("trim")
    straps = [
        tube(
            spline(
                [(x * 0.12, 0.4, -0.14), (x * 0.26, 0.42, -0.24), (x * 0.36, 0.1, -0.28), (x * 0.3, -0.38, -0.16)], 50
            ),
            0.05,
            flat=0.35,
            up=(0, 0, 1),
        ).of("trim")
        for x in (-1, 1)
    ]
    piping = [
        tube(spline([(-0.38 * w, -0.01, 0.25), (0, 0.0, 0.268), (0.38 * w, -0.01, 0.25)], 20), 0.008, sides=8).of(
            "trim"
        )
    ]
    own = {"main": cloth(bump=0.25, bump_frequency=60), "trim": Material((0.03, 0.03, 0.033), rough=0.8)}
    meshes = [body, pocket, flap, upper, *sides, zipper, *pulls, grip, *straps, *piping]
    return Model([mesh.moved(y=0.5 * h) for mesh in meshes], own, turn=(-42, 42), raise_=(2, 16), fill=(0.82, 0.94))


def handbag(rng: Random) -> Model:
    w, h = rng.uniform(0.7, 0.85), rng.uniform(0.46, 0.58)
    taper = rng.uniform(0.1, 0.25)

    def tapered(p: Points) -> Points:
        x, y, z = p.T
        up = (y + 0.5 * h) / h
        return np.stack([x * (1 - taper * up), y, z * (1 - 0.6 * up)], 1)

    body = block(w, h, 0.3, 0.06, 14, 0.02).warped(tapered)
    rise = rng.uniform(0.2, 0.32)
    top = 0.5 * h
    handles = [
        tube(
            spline(
                [
                    (-0.2, top - 0.1, z),
                    (-0.19, top + 0.6 * rise, z),
                    (-0.1, top + rise, z),
                    (0.1, top + rise, z),
                    (0.19, top + 0.6 * rise, z),
                    (0.2, top - 0.1, z),
                ],
                50,
            ),
            0.017,
        )
        for z in (0.08, -0.08)
    ]
    rings = [
        tube(
            np.stack(
                [
                    x * 0.2 + 0.028 * np.cos(t := np.linspace(0, 2 * np.pi, 24, endpoint=False)),
                    top - 0.1 + 0.028 * np.sin(t),
                    0 * t + 0.1,
                ],
                1,
            ),
            0.008,
            closed=True,
            sides=8,
        ).of("brass")
        for x in (-1, 1)
    ]
    meshes = [body, *handles, *rings]
    if rng.random() < 0.6:
        meshes.append(
            block(w * (1 - taper) * 0.94, 0.3 * h, 0.03, 0.014, 8).turned("x", 8).moved(0, top - 0.16 * h, 0.075)
        )
        meshes.append(block(0.07, 0.05, 0.025, 0.008).moved(0, top - 0.3 * h, 0.105).of("brass"))
    else:
        meshes.append(tube(np.array([[-0.42 * w, top - 0.005, 0.0], [0.42 * w, top - 0.005, 0.0]]), 0.014).of("brass"))
    seam = [
        tube(
            spline(
                [
                    (-0.5 * w + 0.03, -0.5 * h + 0.05, 0.15),
                    (0, -0.5 * h + 0.045, 0.175),
                    (0.5 * w - 0.03, -0.5 * h + 0.05, 0.15),
                ],
                30,
            ),
            0.006,
            sides=8,
        )
    ]
    feet = [
        lathe([(0, 0), (0.02, 0), (0.02, 0.02)], 16).moved(x * 0.35 * w, -0.5 * h - 0.018, z * 0.09).of("brass")
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    own = {"main": LEATHER}
    return Model(
        [mesh.moved(y=0.5 * h + 0.02) for mesh in [*meshes, *seam, *feet]],
        own,
        turn=(-38, 38),
        raise_=(4, 20),
        fill=(0.74, 0.9),
    )

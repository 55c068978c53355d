"""Watches, sunglasses, hats, umbrellas, guitars."""

import numpy as np

from training.scenes.materials import LEATHER, Material, cloth, glossy
from training.scenes.products.furniture import dial
from training.scenes.shapes import Mesh, Points, block, inflate, joined, lathe, polygon, rounded, spline, surface, tube
from training.scenes.studio import Model

Random = np.random.Generator


def watch(rng: Random) -> Model:
    """A wristwatch, its strap closed to a loop, seen from the front."""
    case = lathe(rounded([(0.2, -0.05), (0.24, -0.04), (0.25, 0.02), (0.22, 0.05), (0.2, 0.045)], 2), 96).turned(
        "x", 90
    )
    face_ink = rng.random() < 0.5
    face = lathe([(0, 0.03), (0.21, 0.03)], 72).turned("x", 90).of("face")
    front = [part.moved(z=0.034) for part in dial(rng, 0.2, rng.random() < 0.5, "black" if face_ink else "white")]
    crown = lathe([(0, -0.02), (0.025, -0.02), (0.025, 0.02), (0, 0.02)], 24).turned("z", 90).moved(x=0.27)
    lugs = [
        block(0.045, 0.1, 0.05, 0.015).moved(x * 0.12, y * 0.25, -0.01).of("case") for x in (-1, 1) for y in (-1, 1)
    ]
    t = np.radians(np.linspace(112, 428, 90))
    deep, tall = rng.uniform(0.3, 0.36), rng.uniform(0.4, 0.46)
    strap = _band(np.stack([0 * t, tall * np.cos(t), deep * np.sin(t) - deep], 1), 0.115, 0.018)
    own = {
        "main": LEATHER,
        "case": Material((0.75, 0.75, 0.77), rough=0.2, metal=True),
        "face": Material((0.88, 0.88, 0.86) if face_ink else (0.015, 0.017, 0.025), rough=0.5),
        "second": Material((0.7, 0.03, 0.03)),
    }
    meshes = [case.of("case"), crown.of("case"), *lugs, face, *front, strap]
    return Model(meshes, own, turn=(-40, 40), raise_=(5, 40), stands=rng.random() < 0.7, fill=(0.7, 0.88))


def _band(path: Points, half: float, thick: float) -> Mesh:
    """A flat band along a path in the yz plane, `half` wide each way along x."""
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.stack([0 * along[:, 0], -along[:, 2], along[:, 1]], 1)
    side = np.array([1.0, 0, 0])
    ring = rounded(np.array([[-half, -thick], [half, -thick], [half, thick], [-half, thick]]), 2, closed=True, cut=0.1)
    points = path[:, None] + ring[None, :, :1] * side + ring[None, :, 1:] * normal[:, None]
    return surface(points, wrap_columns=True)


def sunglasses(rng: Random) -> Model:
    w, h, square = rng.uniform(0.23, 0.26), rng.uniform(0.17, 0.21), rng.uniform(2.2, 3.4)
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    ring = np.stack(
        [
            w * np.sign(c) * np.abs(c) ** (2 / square),
            h * np.sign(s) * np.abs(s) ** (2 / square) * np.where(s > 0, 1, 1.1),
            0 * t,
        ],
        1,
    )
    ring[:, 1] += 0.04 * np.abs(ring[:, 0]) * 0.5
    parts: list[Mesh] = []
    for side in (-1, 1):
        rim = ring * [side, 1, 1] + [side * 0.29, 0, 0]
        parts.append(tube(rim, 0.026, flat=1.2, closed=True))
        disc = np.stack([rim, np.repeat(rim.mean(0)[None], len(rim), 0)])
        parts.append(surface(disc, wrap_columns=True).of("lens"))
        hinge = np.array([side * (0.29 + w), 0.08, 0])
        path = spline(
            hinge + np.array([(0, 0, 0), (side * 0.03, 0.01, -0.08), (side * 0.02, 0, -0.75), (0, -0.12, -0.98)]), 40
        )
        parts.append(tube(path, np.linspace(0.034, 0.02, 40), flat=0.45, up=(1, 0, 0)))
    parts.append(tube(spline([(-0.1, 0.07, 0), (0, 0.1, 0.01), (0.1, 0.07, 0)], 20), 0.024))
    bend = [mesh.warped(lambda p: p - np.stack([0 * p[:, 0], 0 * p[:, 0], 0.25 * p[:, 0] ** 2], 1)) for mesh in parts]
    lens = Material((0.012, 0.012, 0.014), rough=0.06)
    return Model(bend, {"main": glossy(0.12), "lens": lens}, turn=(-38, 38), raise_=(4, 24), fill=(0.75, 0.92))


def hat(rng: Random) -> Model:
    """A western hat: creased crown, ribbon, brim rolled up at the sides."""
    tall, brim, roll = rng.uniform(0.34, 0.42), rng.uniform(0.55, 0.65), rng.uniform(0.3, 0.55)
    profile = rounded(
        [
            (0, tall),
            (0.2, tall),
            (0.25, tall - 0.06),
            (0.28, 0.05),
            (0.31, 0.0),
            (brim, 0.0),
            (brim, -0.015),
            (0.29, -0.015),
        ],
        3,
    )
    base = lathe(_dense(profile, 90), 120)

    def shaped(p: Points) -> Points:
        x, y, z = p.T.copy()
        r = np.hypot(x, z)
        out = np.clip((r - 0.3) / (brim - 0.3), 0, 1)
        y = y + roll * out**2 * np.abs(x / (r + 1e-9)) ** 3 * 0.6 - 0.08 * out * np.abs(z / (r + 1e-9)) ** 3
        x = x * (1 - 0.22 * roll * out**2)
        crown = np.clip((y - 0.55 * tall) / (0.45 * tall), 0, 1) * (r < 0.3)
        y = y - crown * 0.13 * np.exp(-((x / 0.07) ** 2)) * (0.6 + 0.4 * (z < 0.2))
        x = x * (1 - 0.35 * crown * (z > 0) * np.clip(z / 0.25, 0, 1))
        z = z * 1.12
        return np.stack([x, y, z], 1)

    band = lathe([(0.285, 0.02), (0.287, 0.02), (0.283, 0.075), (0.275, 0.075)], 96)
    own = {"main": cloth(bump=0.2, bump_frequency=70, sheen=0.3), "band": Material((0.03, 0.02, 0.015), rough=0.5)}
    return Model([base.warped(shaped), band.scaled(1.02, 1, 1.14).of("band")], own, turn=(-60, 60), raise_=(8, 28))


def _dense(profile: Points, count: int) -> Points:
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))])
    t = np.linspace(0, along[-1], count)
    return np.stack([np.interp(t, along, profile[:, n]) for n in range(2)], 1)


def umbrella(rng: Random) -> Model:
    """An open umbrella with eight panels, a shaft and a hooked handle."""
    panels, high = 8, rng.uniform(0.3, 0.38)
    a = np.linspace(0, 2 * np.pi, panels * 12, endpoint=False)
    u = np.linspace(0, 1, 30)[:, None]
    between = np.abs(np.sin(a * panels / 2))[None]
    r = 0.62 * u * (1 - 0.07 * between * u)
    y = high * (1 - u**2.0) - 0.05 * between * u * (1 - 0.2 * u) + 0.03 * between * u**4
    canopy = surface(np.stack([r * np.cos(a), y, r * np.sin(a)], -1), wrap_columns=True)
    inner = canopy.moved(y=-0.008)
    ribs = [
        tube(
            spline(
                np.stack(
                    [0.62 * u[:, 0] * np.cos(k), high * (1 - u[:, 0] ** 2) - 0.012, 0.62 * u[:, 0] * np.sin(k)], 1
                )[::5],
                20,
            ),
            0.006,
            sides=6,
        ).of("steel")
        for k in np.arange(panels) * 2 * np.pi / panels
    ]
    shaft = tube(np.array([[0, high + 0.07, 0], [0, 0, 0], [0, -0.55, 0]]), [0.006, 0.011, 0.011], sides=10).of("steel")
    t = np.radians(np.linspace(0, -190, 24))
    hook = tube(
        np.concatenate([[[0, -0.5, 0]], np.stack([-0.075 + 0.075 * np.cos(t), -0.66 + 0.075 * np.sin(t), 0 * t], 1)]),
        0.021,
    ).of("wood")
    parts = [canopy, inner, *ribs, shaft, hook]
    tilt = rng.uniform(15, 60)
    parts = [part.turned("x", tilt).turned("z", 18) for part in parts]
    own = {"main": Material(coloured=True, rough=0.7, sheen=0.3)}
    return Model(parts, own, turn=(-180, 180), raise_=(0, 18), stands=False)


def guitar(rng: Random) -> Model:
    """An acoustic guitar, upright."""
    half = spline(
        [
            (0.0, -0.5),
            (0.2, -0.49),
            (0.33, -0.33),
            (0.29, -0.12),
            (0.2, 0.02),
            (0.24, 0.2),
            (0.17, 0.33),
            (0.05, 0.36),
            (0, 0.36),
        ],
        60,
    )
    outline = polygon(*[tuple(p) for p in half], mirrored=True)
    body = inflate(outline, 0.02, 0.03, cells=110, flat_edge=0.06)
    sides = surface(
        np.stack([np.column_stack([outline, np.full(len(outline), z)]) for z in (-0.062, 0.062)]), wrap_columns=True
    ).of("side")
    ring = lathe([(0.0, 0.085), (0.085, 0.085)], 48).turned("x", 90).moved(y=0.1).of("black")
    rosette = tube(
        np.stack(
            [0.1 * np.cos(t := np.linspace(0, 2 * np.pi, 60, endpoint=False)), 0.1 + 0.1 * np.sin(t), 0 * t + 0.083], 1
        ),
        0.006,
        closed=True,
        sides=8,
    ).of("side")
    neck = block(0.085, 0.85, 0.05, 0.015).moved(y=0.62, z=0.075).of("dark")
    frets = [
        block(0.084, 0.006, 0.006, 0.002, 1).moved(y=0.24 + 0.8 * (1 - 0.94**n) / (1 - 0.94**18), z=0.102).of("steel")
        for n in range(1, 18)
    ]
    head = block(0.12, 0.22, 0.035, 0.012).moved(y=1.13, z=0.06).of("side")
    pegs = [
        block(0.05, 0.022, 0.022, 0.008).moved(x * 0.085, 1.06 + 0.065 * n, 0.06).of("steel")
        for x in (-1, 1)
        for n in range(3)
    ]
    bridge = block(0.24, 0.04, 0.025, 0.01).moved(y=-0.22, z=0.088).of("dark")
    strings = [
        tube(np.array([[0.03 * x, -0.22, 0.104], [0.03 * x, 1.05, 0.108]]), 0.0028, sides=6).of("steel")
        for x in np.linspace(-1, 1, 6)
    ]
    own = {
        "main": Material((0.55, 0.3, 0.11), rough=0.25, noise=0.12, noise_frequency=14, grain="wood"),
        "side": Material((0.2, 0.07, 0.025), rough=0.25), "dark": Material((0.04, 0.022, 0.014), rough=0.45),
    }  # fmt: skip
    meshes = [body, sides, ring, rosette, neck, *frets, head, *pegs, bridge, *strings]
    lean = rng.uniform(-35, 35)
    return Model(
        [joined([mesh]).turned("z", lean) for mesh in meshes],
        own,
        turn=(-25, 25),
        raise_=(-5, 10),
        stands=False,
        fill=(0.82, 0.95),
    )

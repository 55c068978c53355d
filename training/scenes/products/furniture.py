"""Chairs, sofas, lamps and clocks."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from training.scenes.materials import Material, cloth, glossy
from training.scenes.shapes import Mesh, block, circle, joined, lathe, rounded, shell, spline, tube
from training.scenes.studio import Model

Random = np.random.Generator


def bar(start: tuple[float, ...], stop: tuple[float, ...], radius: float, end: float | None = None) -> Mesh:
    """A straight rod, thinning towards its end."""
    path = np.linspace(np.array(start), np.array(stop), 8)
    return tube(path, np.linspace(radius, radius if end is None else end, 8), sides=14)


def chair(rng: Random) -> Model:
    """A kitchen chair with a slatted back, of painted wood."""
    w, d, h, back = 0.23, 0.22, 0.45, rng.uniform(0.46, 0.56)
    lean = rng.uniform(0.05, 0.1)
    seat = block(2 * w + 0.06, 0.035, 2 * d + 0.06, 0.015).moved(y=h)
    legs = [bar((x * w, h, z * d), (x * (w + 0.03), 0, z * (d + 0.04)), 0.024, 0.017) for x in (-1, 1) for z in (-1, 1)]
    posts = [bar((x * w, h, -d), (x * (w + 0.01), h + back, -d - lean), 0.022, 0.018) for x in (-1, 1)]
    top = block(2 * w + 0.08, 0.09, 0.025, 0.012).turned("x", -8).moved(y=h + back - 0.03, z=-d - lean)
    if rng.random() < 0.5:
        slats = [bar((x * w, h, -d), (x * w, h + back - 0.05, -d - lean), 0.011) for x in np.linspace(-0.7, 0.7, 5)]
    else:
        slats = [block(2 * w, 0.06, 0.018, 0.008).moved(y=h + back * k, z=-d - lean * k) for k in (0.3, 0.58)]
    rails = [bar((x * (w + 0.015), 0.2, -d), (x * (w + 0.015), 0.2, d), 0.012) for x in (-1, 1)]
    rails += [bar((-w, 0.24, z * d), (w, 0.24, z * d), 0.012) for z in (-1, 1)]
    paint = Material(coloured=True, rough=0.4, noise=0.12, noise_frequency=9, grain="wood")
    return Model([seat, *legs, *posts, top, *slats, *rails], {"main": paint}, turn=(-55, 55), raise_=(8, 24))


def sofa(rng: Random) -> Model:
    w, d = rng.uniform(0.75, 0.95), 0.36
    seats = int(rng.integers(2, 4))
    each = 2 * w / seats
    middle = [-w + each * (n + 0.5) for n in range(seats)]
    base = block(2 * w + 0.1, 0.16, 2 * d, 0.03).moved(y=0.17)
    cushions = [block(each - 0.012, 0.15, 2 * d - 0.1, 0.05, 12, 0.025).moved(x, 0.31, 0.05) for x in middle]
    backs = [block(each - 0.014, 0.36, 0.16, 0.06, 12, 0.04).turned("x", -12).moved(x, 0.54, -d + 0.16) for x in middle]
    rear = block(2 * w + 0.1, 0.55, 0.1, 0.04).moved(y=0.4, z=-d + 0.02)
    arm = rng.uniform(0.12, 0.18)
    arms = [
        block(arm, rng.uniform(0.38, 0.46), 2 * d + 0.02, 0.06, 8, 0.01).moved(x * (w + 0.5 * arm), 0.3)
        for x in (-1, 1)
    ]
    legs = [
        lathe([(0.018, 0), (0.028, 0.1)], 20).moved(x * w, 0, z * (d - 0.05)).of("wood")
        for x in (-1, 1)
        for z in (-1, 1)
    ]
    pillows = [
        block(0.3, 0.3, 0.1, 0.05, 12, 0.06)
        .turned("x", -18)
        .turned("z", rng.uniform(-9, 9))
        .moved(x * (w - 0.2), 0.52, 0.02)
        .of("cushion")
        for x in (-1, 1)
    ]
    extra = pillows if rng.random() < 0.5 else []
    own = {
        "main": cloth(bump_frequency=45),
        "cushion": Material((0.7, 0.68, 0.62), rough=1, bump=0.3, bump_frequency=60),
    }
    return Model(
        [base, *cushions, *backs, rear, *arms, *legs, *extra], own, turn=(-32, 32), raise_=(8, 22), fill=(0.8, 0.92)
    )


def lamp(rng: Random) -> Model:
    top, low, tall = rng.uniform(0.15, 0.24), rng.uniform(0.3, 0.36), rng.uniform(0.3, 0.38)
    belly = rng.uniform(0.1, 0.2)
    foot = spline(
        [
            (0.0, 0.0),
            (0.17, 0.0),
            (0.17, 0.03),
            (0.06, 0.06),
            (belly, 0.25),
            (0.7 * belly, 0.42),
            (0.03, 0.52),
            (0.02, 0.72),
        ],
        70,
    )
    shade = shell(np.linspace((low, 0.6), (top, 0.6 + tall), 12), 0.008, 96)
    rims = [tube(circle(r, y), 0.008, closed=True, sides=8) for r, y in ((low, 0.6), (top, 0.6 + tall))]
    shaded = rng.random() < 0.5
    body, cover = ("brass" if rng.random() < 0.5 else "white", "main") if shaded else ("main", "shade")
    linen = Material(
        (0.72, 0.67, 0.58) if not shaded else (1.0, 0.98, 0.94),
        coloured=shaded,
        rough=1.0,
        noise=0.05,
        noise_frequency=80,
        grain="weave",
    )
    own = {"main": linen if shaded else glossy(0.15), "shade": linen}
    meshes = [lathe(foot, 72).of(body), shade.of(cover), *(rim.of(cover) for rim in rims)]
    return Model(meshes, own, raise_=(2, 14))


def lettering(text: str, height: float) -> Mesh:
    """Flat letters in the xy plane about the origin."""
    font = ImageFont.load_default(40)
    box = font.getbbox(text)
    sheet = Image.new("L", (int(box[2]) + 4, int(box[3]) + 4))
    ImageDraw.Draw(sheet).text((2, 2), text, fill=255, font=font)
    ink = np.argwhere(np.asarray(sheet) > 127).astype(float)
    size = height / max(1.0, np.ptp(ink[:, 0]))
    x, y = (ink[:, 1] - ink[:, 1].mean()) * size, -(ink[:, 0] - ink[:, 0].mean()) * size
    corners = np.stack(
        [np.stack([x + a * size, y + b * size, 0 * x], 1) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))], 1
    )
    index = 4 * np.arange(len(x))[:, None]
    faces = np.concatenate([index + [0, 1, 2], index + [0, 2, 3]]).astype(np.int32)
    return Mesh(corners.reshape(-1, 3), faces)


def dial(rng: Random, radius: float, digits: bool, ink: str = "black") -> list[Mesh]:
    """Marks, numerals and hands of a clock in the xy plane, facing z."""
    marks, r = [], radius
    for n in range(60):
        long = 0.1 if n % 5 == 0 else 0.04
        wide = 0.022 if n % 5 == 0 else 0.008
        mark = block(wide * r, long * r, 0.004, 0.001, 1).moved(y=r * (0.94 - long / 2)).turned("z", -6 * n)
        marks.append(mark)
    if digits:
        for n in range(1, 13):
            a = np.radians(30 * n)
            marks.append(lettering(str(n), 0.15 * r).moved(0.7 * r * np.sin(a), 0.7 * r * np.cos(a), 0.002))
    hour, minute = rng.uniform(0, 360), rng.uniform(0, 360)
    hands = [
        block(0.05 * r, 0.55 * r, 0.008, 0.002, 1).moved(y=0.2 * r, z=0.012).turned("z", -hour),
        block(0.035 * r, 0.82 * r, 0.008, 0.002, 1).moved(y=0.33 * r, z=0.02).turned("z", -minute),
        block(0.012 * r, 0.9 * r, 0.006, 0.002, 1)
        .moved(y=0.3 * r, z=0.028)
        .turned("z", -rng.uniform(0, 360))
        .of("second"),
        lathe([(0.05 * r, 0), (0.05 * r, 0.03), (0, 0.032)], 24).turned("x", 90),
    ]
    return [joined(marks).of(ink), *(hand if hand.material == "second" else hand.of(ink) for hand in hands)]


def wall_clock(rng: Random) -> Model:
    rim = lathe(
        rounded([(0.44, 0.0), (0.5, 0.0), (0.52, 0.05), (0.5, 0.1), (0.46, 0.1), (0.44, 0.05)], 2, closed=True), 120
    )
    face = lathe([(0, 0.03), (0.46, 0.03)], 96).of("face")
    front = [part.moved(z=0.036) for part in dial(rng, 0.44, rng.random() < 0.85)]
    meshes = [rim.turned("x", 90), face.turned("x", 90), *front]
    own = {
        "main": glossy(rng.uniform(0.15, 0.4)),
        "face": Material((0.9, 0.9, 0.88), rough=0.6),
        "second": Material((0.7, 0.03, 0.03), rough=0.4),
    }
    return Model(meshes, own, turn=(-25, 25), raise_=(-8, 8), stands=False, fill=(0.72, 0.9))

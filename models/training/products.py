"""One drawing function a product, in object units: x right, y down, about [-1, 1].

A drawing is an ordered list of parts (filled outlines, lines, soft patches of light) that name
their paint and tone but hold no colour and no pixel: `renderer` poses, colours and paints them,
so that every style shares one geometry. Shape parameters come from the generator handed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Node = tuple[float, float] | tuple[float, float, int]
Paint = Literal["main", "cream", "dark", "metal", "wood", "dial"]


@dataclass(frozen=True)
class Part:
    """One painted outline; `tone` runs from -1 (shade) over 0 (own colour) to 1 (light).

    `width` and `soft` are in object units; a `clip`ped part shows only inside the latest
    filled part that is not clipped itself.
    """

    points: Points
    paint: Paint = "main"
    tone: float = 0.0
    width: float = 0.0
    soft: float = 0.0
    gradient: float = 0.0
    cylinder: float = 0.0
    bevel: float = 0.0
    clip: bool = False


@dataclass
class Drawing:
    """The parts of one product, back to front, and how it meets the ground.

    `ground` is (centre x, y, half width) of the contact shadow, None for a flat lay;
    `tilt_deg` bounds the rotation, `flips` allows mirroring.
    """

    tilt_deg: float = 4.0
    flips: bool = False
    ground: tuple[float, float, float] | None = None
    parts: list[Part] = field(default_factory=list)

    def fill(
        self,
        points: Points,
        paint: Paint = "main",
        tone: float = 0.0,
        *,
        gradient: float = 0.25,
        cylinder: float = 0.0,
        bevel: float = 0.0,
        clip: bool = False,
    ) -> None:
        """Add a filled outline."""
        shading = {"gradient": gradient, "cylinder": cylinder, "bevel": bevel}
        self.parts.append(Part(points, paint, tone, clip=clip, **shading))

    def line(
        self,
        nodes: Sequence[Node],
        width: float = 0.05,
        paint: Paint = "main",
        tone: float = -0.85,
        *,
        bevel: float = 0.0,
        clip: bool = False,
    ) -> None:
        """Add a round-capped line through `nodes`."""
        points = spline(nodes, closed=False)
        self.parts.append(Part(points, paint, tone, width=width, bevel=bevel, clip=clip))

    def glow(self, points: Points, tone: float, soft: float = 0.06) -> None:
        """Add a blurred patch of light (tone > 0) or shade inside the latest fill."""
        self.parts.append(Part(points, tone=tone, soft=soft, clip=True))


def spline(nodes: Sequence[Node], closed: bool = True, samples: int = 9) -> Points:
    """Smooth curve through nodes (Hermite); a node's third item 1 makes it a corner."""
    xy = np.array([node[:2] for node in nodes], dtype=np.float64)
    corner = np.array([len(node) > 2 and bool(node[2]) for node in nodes])
    before, after = np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0)
    if not closed:
        before[0], after[-1] = xy[0], xy[-1]
        corner[[0, -1]] = True
    tangent = after - before
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    last = len(xy) if closed else len(xy) - 1
    start, end = xy[:last], after[:last]
    chord = end - start
    length = np.linalg.norm(chord, axis=1, keepdims=True)
    leave, reach = tangent[:last] * length, np.roll(tangent, -1, axis=0)[:last] * length
    soft_leave, soft_reach = ~corner[:last, None], ~np.roll(corner, -1)[:last, None]
    leave_bent = np.where(soft_leave, leave, 1.5 * chord - 0.5 * np.where(soft_reach, reach, chord))
    reach_bent = np.where(soft_reach, reach, 1.5 * chord - 0.5 * np.where(soft_leave, leave, chord))
    t = (np.arange(samples) / samples)[None, :, None]
    s0, s1, m0, m1 = (a[:, None] for a in (start, end, leave_bent, reach_bent))
    curve = (
        (2 * t**3 - 3 * t**2 + 1) * s0 + (t**3 - 2 * t**2 + t) * m0 + (3 * t**2 - 2 * t**3) * s1 + (t**3 - t**2) * m1
    ).reshape(-1, 2)
    return curve if closed else np.vstack([curve, xy[-1:]])


def mirror(right: Sequence[Node]) -> Points:
    """Closed outline from its right half, listed from the top to the bottom."""
    left = [(-node[0], *node[1:]) for node in reversed(right) if abs(node[0]) > 1e-6]
    return spline([*right, *left])


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """Closed ellipse."""
    angle = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def block(x0: float, y0: float, x1: float, y1: float, radius: float) -> Points:
    """Rectangle with rounded corners."""
    arc = np.linspace(0.0, np.pi / 2, 6)
    corners = ((x1, y1, 1, 1), (x0, y1, -1, 1), (x0, y0, -1, -1), (x1, y0, 1, -1))
    out = []
    for i, (x, y, sx, sy) in enumerate(corners):
        a = arc + i * np.pi / 2
        centre = (x - sx * radius, y - sy * radius)
        out.append(np.stack([centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)], 1))
    return np.vstack(out)


Rng = np.random.Generator


def draw_t_shirt(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=6)
    neck, depth = rng.uniform(0.22, 0.28), rng.uniform(0.2, 0.32)
    side, hem = rng.uniform(0.5, 0.57), rng.uniform(0.8, 0.95)
    sleeve = rng.uniform(0.0, 1.0)
    tip = (0.86 + 0.14 * sleeve, -0.26 + 0.2 * sleeve)
    inner = (0.62 + 0.12 * sleeve, -0.1 + 0.2 * sleeve)
    pit = (side - 0.01, -0.26)
    d.fill(
        mirror(
            [
                (neck, -0.8, 1),
                (0.58, -0.67),
                (*tip, 1),
                (*inner, 1),
                (*pit, 1),
                (side - 0.02, 0.25),
                (side + 0.02, hem, 1),
                (0, hem + 0.04),
            ]
        )[:-9],
        gradient=0.35,
        bevel=0.5,
    )
    d.glow(ellipse(-0.2, 0.05, 0.14, 0.4), 0.35, 0.13)
    d.glow(spline([(side, -0.2), (side - 0.2, 0.3), (side - 0.06, hem), (side + 0.1, hem)]), -0.45, 0.1)
    neck_line: list[Node] = [(-neck, -0.8), (-0.6 * neck, -0.8 + 0.75 * depth), (0, -0.8 + depth)]
    neck_line += [(0.6 * neck, -0.8 + 0.75 * depth), (neck, -0.8)]
    back: list[Node] = [(neck, -0.8, 1), (0, -0.72), (-neck, -0.8, 1)]
    d.fill(spline([(-neck, -0.8, 1), *neck_line[1:-1], *back[:2]]), tone=-1.0, gradient=0, clip=True)
    d.line(neck_line, 0.085, tone=0.3, clip=True)
    d.line([(x * 1.14, y + 0.06) for x, y, *_ in neck_line[1:-1]], 0.035, tone=-0.7)
    for s in (-1, 1):
        d.line([(s * 0.53, -0.66), (s * 0.46, -0.45), (s * pit[0], pit[1])], 0.05)
        cuff = [(s * (x - 0.06), y - 0.075) for x, y in (tip, inner)]
        d.line([(cuff[0][0] + s * 0.012, cuff[0][1] + 0.01), cuff[1]], 0.045, tone=-0.7)
    d.line([(-side + 0.02, hem - 0.09), (0, hem - 0.055), (side - 0.02, hem - 0.09)], 0.045, tone=-0.7)
    return d


def draw_dress(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=5)
    waist, flare = rng.uniform(0.2, 0.26), rng.uniform(0.55, 0.75)
    depth, waist_y = rng.uniform(0.22, 0.36), rng.uniform(-0.2, -0.1)
    hem = rng.uniform(0.88, 1.0)
    d.fill(
        mirror(
            [
                (0, -0.98 + depth),
                (0.15, -0.98 + 0.7 * depth),
                (0.2, -0.98, 1),
                (0.32, -0.97, 1),
                (0.29, -0.72),
                (0.39, -0.52, 1),
                (waist + 0.04, -0.3),
                (waist, waist_y),
                (0.5 * (waist + flare) - 0.04, 0.3),
                (flare, hem - 0.06, 1),
                (0.35 * flare, hem),
                (0, hem),
            ]
        ),
        gradient=0.35,
        bevel=0.5,
    )
    d.glow(ellipse(-0.12, -0.45, 0.08, 0.2), 0.4, 0.08)
    for k in (-0.62, -0.2, 0.24, 0.66):
        top, end = 0.75 * k * waist, k * flare
        fold: list[Node] = [(top, waist_y + 0.12, 1), (0.45 * end + 0.5 * top + 0.02, 0.4)]
        fold += [(end + 0.075, hem + 0.05, 1), (end - 0.055, hem + 0.05, 1)]
        d.fill(spline(fold), tone=-0.55 if k > 0 else -0.4, gradient=0, clip=True)
    d.glow(spline([(-0.12, 0.1, 1), (-0.4 * flare, hem, 1), (-0.5 * flare, hem, 1)]), 0.45, 0.05)
    band: list[Node] = [(-waist - 0.05, waist_y), (0, waist_y + 0.045), (waist + 0.05, waist_y)]
    d.line(band, 0.13, tone=-0.85, clip=True)
    neck: list[Node] = [(-0.19, -0.94), (-0.15, -0.96 + 0.7 * depth), (0, -0.955 + depth)]
    neck += [(0.15, -0.96 + 0.7 * depth), (0.19, -0.94)]
    d.line(neck, 0.05, tone=-0.6, clip=True)
    return d


def draw_jeans(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=5)
    waist, hip = rng.uniform(0.36, 0.41), rng.uniform(0.46, 0.52)
    spread, cuff = rng.uniform(0.46, 0.6), rng.uniform(0.22, 0.3)
    crotch = rng.uniform(-0.28, -0.18)
    d.fill(
        mirror(
            [
                (0, -0.93),
                (waist, -0.97, 1),
                (waist + 0.03, -0.82),
                (hip, -0.4),
                (spread, 0.97, 1),
                (spread - cuff, 0.99, 1),
                (0.035, crotch, 1),
                (0, crotch - 0.01),
            ]
        ),
        gradient=0.35,
        bevel=0.55,
    )
    for s in (-1, 1):
        leg = 0.5 * (hip + 0.02) * s
        foot = s * (spread - cuff / 2)
        d.glow(
            spline([(leg - 0.05, -0.3), (foot - 0.05, 0.85), (foot + 0.02, 0.85), (leg + 0.05, -0.3)]),
            0.45,
            0.07,
        )
        d.line(
            [(s * waist * 0.5, -0.8), (s * waist * 0.62, -0.66), (s * (waist + 0.1), -0.58)],
            0.05,
            clip=True,
        )
        d.line([(s * (spread - cuff - 0.05), 0.88), (s * (spread + 0.05), 0.86)], 0.05, clip=True)
        d.line([(s * waist * 0.62, -0.93), (s * waist * 0.62, -0.8)], 0.055, tone=-0.6, clip=True)
    d.glow(spline([(0, crotch - 0.15), (0.2, 0.3), (0.12, 0.6), (0, 0.1)]), -0.5, 0.06)
    d.line([(-waist - 0.08, -0.81), (0, -0.775), (waist + 0.08, -0.81)], 0.05, clip=True)
    d.line([(0, -0.78), (0, crotch)], 0.05)
    d.line([(0.13, -0.77), (0.125, -0.58), (0, -0.42)], 0.042, tone=-0.7)
    d.fill(ellipse(0, -0.86, 0.045, 0.045), "metal", 0.2, gradient=0.5)
    return d


def draw_sneaker(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=5, flips=True, ground=(0, 0.5, 0.95))
    ankle, toe = rng.uniform(-0.5, -0.38), rng.uniform(-0.04, 0.03)
    sole = rng.uniform(0.11, 0.15)
    upper: list[Node] = [(0.9, 0.34, 1), (0.92, 0.0), (0.88, ankle + 0.02), (0.76, ankle - 0.06)]
    upper += [(0.62, ankle + 0.08), (0.4, ankle + 0.14), (0.2, ankle - 0.05), (0.06, ankle - 0.02)]
    upper += [
        (-0.2, ankle + 0.3),
        (-0.52, toe - 0.07),
        (-0.84, toe + 0.06),
        (-0.98, 0.3),
        (-0.94, 0.4, 1),
    ]
    collar: list[Node] = [
        (0.8, ankle - 0.02),
        (0.62, ankle + 0.02),
        (0.4, ankle + 0.05),
        (0.15, ankle - 0.04),
    ]
    collar += [(0.3, ankle + 0.17), (0.56, ankle + 0.19)]
    d.fill(spline(upper), gradient=0.4, bevel=0.55)
    d.fill(spline(collar), "dark", gradient=0, clip=True)
    d.fill(
        spline([(-1.1, toe), (-0.76, toe - 0.1, 1), (-0.64, 0.15), (-0.66, 0.42, 1), (-1.1, 0.45, 1)]),
        "cream",
        clip=True,
        bevel=0.3,
    )
    d.fill(
        spline([(1, ankle - 0.1), (0.76, ankle - 0.1, 1), (0.7, -0.1), (0.76, 0.4, 1), (1.1, 0.4, 1)]),
        tone=-0.7,
        clip=True,
    )
    d.line([(0.14, ankle + 0.18), (-0.02, 0.05), (-0.42, 0.13), (-0.62, 0.14)], 0.05, clip=True)
    d.line([(0.1, ankle + 0.45), (0.34, 0.0), (0.5, 0.36)], 0.05, tone=-0.7, clip=True)
    d.fill(
        spline(
            [
                (-0.99, 0.31, 1),
                (-0.5, 0.35),
                (0.2, 0.33),
                (0.95, 0.29, 1),
                (0.97, 0.33 + sole),
                (0.8, 0.36 + sole),
                (-0.7, 0.36 + sole),
                (-0.98, 0.31 + sole),
            ]
        ),
        "cream",
        gradient=0.3,
        bevel=0.4,
    )
    d.line([(-0.9, 0.3 + sole), (0.9, 0.3 + sole)], 0.045, "cream", -0.9)
    for k in range(4):
        x, y = 0.07 - 0.14 * k, ankle + 0.1 + (0.105 + 0.05 * (toe - ankle - 0.45)) * k
        d.line([(x - 0.07, y - 0.03 + 0.02 * k), (x + 0.1, y + 0.09)], 0.065, "cream", 0.2)
    return d


def draw_backpack(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=4, ground=(0, 0.95, 0.62))
    width, top = rng.uniform(0.56, 0.64), rng.uniform(-0.88, -0.8)
    pocket, pocket_top = rng.uniform(0.4, 0.46), rng.uniform(0.12, 0.22)
    for s in (-1, 1):
        d.line(
            [
                (s * 0.34, -0.6),
                (s * (width + 0.1), -0.3),
                (s * (width + 0.13), 0.3),
                (s * (width - 0.04), 0.76),
            ],
            0.11,
            tone=-0.65,
        )
        d.fill(
            block(min(s * 0.4, s * (width + 0.13)), 0.22, max(s * 0.4, s * (width + 0.13)), 0.86, 0.13),
            tone=-0.4,
            bevel=0.4,
        )
    d.line(
        [(-0.18, top + 0.06), (-0.14, top - 0.15), (0.14, top - 0.15), (0.18, top + 0.06)],
        0.085,
        "dark",
    )
    d.fill(
        mirror(
            [
                (0, top),
                (0.3, top + 0.03),
                (width - 0.07, top + 0.3),
                (width, 0.0),
                (width + 0.02, 0.6),
                (width - 0.06, 0.88),
                (0.3, 0.95),
                (0, 0.95),
            ]
        ),
        gradient=0.35,
        bevel=0.6,
    )
    d.glow(ellipse(-0.28, top + 0.45, 0.1, 0.2), 0.5, 0.1)
    arc: list[Node] = [
        (-width + 0.12, 0.02),
        (-width + 0.16, top + 0.36),
        (-0.25, top + 0.17),
        (0, top + 0.14),
    ]
    arc += [(-x, y) for x, y, *_ in reversed(arc[:-1])]
    d.line(arc, 0.055, "dark")
    d.line([(width - 0.12, 0.02), (width - 0.12, 0.12)], 0.075, "metal", 0.2)
    d.fill(block(-pocket, pocket_top, pocket, 0.84, 0.14), tone=-0.12, gradient=0.3, bevel=0.5)
    d.line([(-pocket + 0.1, pocket_top + 0.15), (pocket - 0.1, pocket_top + 0.15)], 0.055, "dark")
    d.line(
        [(-pocket + 0.13, pocket_top + 0.16), (-pocket + 0.13, pocket_top + 0.27)],
        0.07,
        "metal",
        0.2,
    )
    d.fill(block(-0.13, -0.32, 0.13, -0.14, 0.05), "cream", gradient=0.2)
    return d


def draw_handbag(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=4, ground=(0, 0.8, 0.85))
    top, base = rng.uniform(0.6, 0.7), rng.uniform(0.8, 0.92)
    rise, flap = rng.uniform(-0.95, -0.8), rng.uniform(0.2, 0.34)
    span = rng.uniform(0.34, 0.42)
    handle: list[Node] = [
        (-span, -0.1),
        (-span + 0.02, -0.5),
        (-span * 0.62, rise + 0.08),
        (0, rise),
    ]
    handle += [(-x, y) for x, y, *_ in reversed(handle[:-1])]
    d.line(handle, 0.12, tone=-0.4, bevel=0.5)
    body = mirror([(0, -0.19), (top - 0.08, -0.19), (top, -0.12), (base, 0.68), (base - 0.1, 0.8), (0, 0.8)])
    d.fill(body, gradient=0.4, bevel=0.6)
    d.glow(ellipse(-0.5, 0.45, 0.1, 0.2), 0.4, 0.1)
    d.fill(
        mirror(
            [
                (0, -0.19),
                (top - 0.08, -0.19),
                (top, -0.11),
                (top - 0.05, 0.05),
                (0.36, flap),
                (0, flap + 0.06),
            ]
        ),
        tone=0.1,
        gradient=0.25,
        bevel=0.4,
    )
    edge: list[Node] = [
        (-top + 0.04, 0.07),
        (-0.36, flap + 0.02),
        (0, flap + 0.08),
        (0.36, flap + 0.02),
        (top - 0.04, 0.07),
    ]
    d.line(edge, 0.055, tone=-0.9)
    d.line([(-base + 0.14, 0.69), (base - 0.14, 0.69)], 0.045, tone=-0.65)
    d.fill(block(-0.1, flap - 0.06, 0.1, flap + 0.17, 0.05), "metal", 0.3, gradient=0.6)
    d.line([(0, flap + 0.02), (0, flap + 0.09)], 0.055, "dark")
    for s in (-1, 1):
        d.fill(ellipse(s * span, -0.08, 0.065, 0.065), "metal", 0.2, gradient=0.5)
    return d


def draw_mug(rng: Rng) -> Drawing:
    height, taper = rng.uniform(0.68, 0.85), rng.uniform(0.0, 0.1)
    d = Drawing(tilt_deg=3, flips=True, ground=(-0.18, height, 0.6))
    loop, rim = rng.uniform(0.3, 0.4), rng.uniform(0.11, 0.16)
    x, r, top = -0.18, 0.62, -height
    lower = r - taper
    h0, h1 = top + 0.36 * height, top + 1.5 * height
    ear: list[Node] = [
        (x + r - 0.1, h0),
        (x + r + loop * 0.7, h0 + 0.03),
        (x + r + loop, 0.5 * (h0 + h1) - 0.06),
    ]
    ear += [(x + r + loop * 0.6, h1 - 0.05), (x + lower - 0.06, h1 + 0.03)]
    d.line(ear, 0.17, tone=-0.15, bevel=0.7)
    d.fill(
        spline(
            [
                (x - r, top, 1),
                (x - r + 0.3 * taper, 0),
                (x - lower, height - 0.14),
                (x - lower + 0.12, height - 0.01),
                (x, height + 0.05),
                (x + lower - 0.12, height - 0.01),
                (x + lower, height - 0.14),
                (x + r - 0.3 * taper, 0),
                (x + r, top, 1),
            ]
        ),
        gradient=0,
        cylinder=0.75,
    )
    d.glow(
        spline(
            [
                (x - r, height - 0.12),
                (x, height - 0.04),
                (x + r, height - 0.12),
                (x + r, height + 0.1),
                (x - r, height + 0.1),
            ]
        ),
        -0.35,
        0.06,
    )
    d.fill(ellipse(x, top, r, rim), tone=0.45, gradient=0.1)
    d.fill(ellipse(x, top + 0.012, r - 0.065, rim - 0.045), "cream", -0.55, gradient=-0.6)
    return d


def draw_bottle(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=3, ground=(0, 0.98, 0.36))
    r, shoulder = rng.uniform(0.31, 0.38), rng.uniform(-0.5, -0.38)
    neck = rng.uniform(0.14, 0.18)
    label = rng.uniform(0.12, 0.2)
    d.fill(
        mirror(
            [
                (0, -0.75),
                (neck, -0.75, 1),
                (neck, -0.66),
                (neck + 0.05, shoulder - 0.12),
                (r - 0.03, shoulder + 0.08),
                (r, shoulder + 0.3),
                (r, 0.82),
                (r - 0.06, 0.95),
                (0, 0.99),
            ]
        ),
        gradient=0,
        cylinder=0.8,
    )
    d.glow(block(-0.6 * r, shoulder + 0.1, -0.4 * r, 0.85, 0.03), 0.45, 0.03)
    y = 0.2
    d.fill(
        spline(
            [
                (-0.6, y - label, 1),
                (0, y - label + 0.045),
                (0.6, y - label, 1),
                (0.6, y + label, 1),
                (0, y + label + 0.045),
                (-0.6, y + label, 1),
            ]
        ),
        "cream",
        gradient=0,
        cylinder=0.4,
        clip=True,
    )
    d.line([(-0.15, y + 0.035), (0.15, y + 0.035)], 0.075, tone=-0.2)
    d.line([(-0.6, 0.84), (0, 0.88), (0.6, 0.84)], 0.045, tone=-0.7, clip=True)
    d.fill(block(-neck - 0.04, -1.0, neck + 0.04, -0.72, 0.05), "dark", gradient=0, cylinder=0.9)
    d.line([(-neck - 0.1, -0.8), (neck + 0.1, -0.8)], 0.045, "dark", -0.9, clip=True)
    return d


def draw_chair(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=2, flips=True, ground=(0, 0.94, 0.72))
    back, top = rng.uniform(0.42, 0.5), rng.uniform(-1.0, -0.9)
    seat, splay = rng.uniform(0.54, 0.6), rng.uniform(0.02, 0.1)
    lean = rng.uniform(0.0, 0.06)
    for s in (-1, 1):
        d.line([(s * 0.36 + lean, 0.2), (s * (0.4 + splay) + lean, 0.8)], 0.085, "wood", -0.7)
        d.line([(s * back * 0.62 + lean, -0.2), (s * back * 0.62, 0.12)], 0.09, "wood", -0.4)
    for s in (-1, 1):
        d.line([(s * (seat - 0.1), 0.28), (s * (seat - 0.03 + splay), 0.98)], 0.1, "wood", 0.1)
    d.fill(
        mirror(
            [
                (0, top),
                (back - 0.12, top + 0.03),
                (back, top + 0.18),
                (back - 0.03, -0.22),
                (back - 0.14, -0.11),
                (0, -0.1),
            ]
        )
        + np.array([lean, 0.0]),
        gradient=0.35,
        bevel=0.6,
    )
    for k in (-0.36, 0.36):
        d.line([(k * back + lean, top + 0.13), (k * back + lean, -0.22)], 0.05, tone=-0.7)
    d.glow(ellipse(-0.6 * back + lean, top + 0.3, 0.06, 0.14), 0.4, 0.06)
    d.fill(
        mirror(
            [
                (0, 0.02),
                (seat - 0.12, 0.03),
                (seat, 0.2),
                (seat + 0.02, 0.34),
                (seat - 0.06, 0.42),
                (0, 0.44),
            ]
        ),
        tone=-0.6,
        gradient=0.2,
    )
    d.fill(
        mirror(
            [
                (0, 0.0),
                (seat - 0.13, 0.01),
                (seat - 0.02, 0.12),
                (seat + 0.03, 0.27),
                (seat - 0.07, 0.325),
                (0, 0.335),
            ]
        ),
        tone=0.1,
        gradient=0.3,
        bevel=0.4,
    )
    return d


def draw_lamp(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=2, ground=(0, 0.95, 0.5))
    top, bottom = rng.uniform(0.26, 0.42), rng.uniform(0.6, 0.7)
    edge = rng.uniform(0.02, 0.14)
    base = rng.uniform(0.3, 0.38)
    d.line([(0, 0.0), (0, 0.88)], 0.1, "metal", -0.1, bevel=0.8)
    d.fill(ellipse(0, edge + 0.18, 0.1, 0.06), "metal", 0.0, gradient=0.6)
    d.fill(
        mirror([(0, 0.76), (0.1, 0.78), (base, 0.89), (base, 0.96), (0, 1.0)]),
        "metal",
        -0.25,
        gradient=0,
        cylinder=0.8,
    )
    d.fill(
        spline(
            [
                (-top, -0.9, 1),
                (0, -0.86),
                (top, -0.9, 1),
                (bottom, edge, 1),
                (0.5 * bottom, edge + 0.075),
                (0, edge + 0.1),
                (-0.5 * bottom, edge + 0.075),
                (-bottom, edge, 1),
            ]
        ),
        gradient=0,
        cylinder=0.7,
    )
    rim: list[Node] = [
        (-bottom - 0.05, edge - 0.08),
        (0, edge + 0.025),
        (bottom + 0.05, edge - 0.08),
    ]
    d.line(rim, 0.05, tone=-0.75, clip=True)
    d.line([(-top - 0.06, -0.8), (0, -0.745), (top + 0.06, -0.8)], 0.045, tone=-0.6, clip=True)
    d.fill(ellipse(0, -0.9, top, 0.055), tone=-0.8, gradient=0.2)
    return d


def draw_hat(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=6, flips=True, ground=(0, 0.5, 0.9))
    crown, top = rng.uniform(0.5, 0.58), rng.uniform(-0.72, -0.58)
    brim, dip = rng.uniform(0.2, 0.27), rng.uniform(0.0, 0.08)
    y = 0.24
    d.fill(
        spline(
            [
                (-1.0, y - dip),
                (-0.6, y - 0.1),
                (0, y - 0.14),
                (0.6, y - 0.1),
                (1.0, y - dip),
                (0.65, y + 0.85 * brim),
                (0, y + brim + 0.05),
                (-0.65, y + 0.85 * brim),
            ]
        ),
        tone=-0.05,
        gradient=0.4,
        bevel=0.5,
    )
    d.glow(ellipse(0.1, y + 0.1, crown + 0.05, 0.1), -0.9, 0.06)
    d.fill(
        spline(
            [
                (-crown, y, 1),
                (-crown + 0.04, -0.2),
                (-crown + 0.14, top + 0.1),
                (-0.22, top),
                (0, top + 0.06),
                (0.22, top),
                (crown - 0.14, top + 0.1),
                (crown - 0.04, -0.2),
                (crown, y, 1),
                (0.5 * crown, y + 0.09),
                (0, y + 0.115),
                (-0.5 * crown, y + 0.09),
            ]
        ),
        gradient=0.1,
        cylinder=0.55,
    )
    d.glow(
        spline([(-0.2, top + 0.03), (0, top + 0.05), (0.22, top + 0.03), (0.08, top + 0.3)]),
        -0.6,
        0.05,
    )
    d.fill(
        spline(
            [
                (-0.8, y - 0.22, 1),
                (0, y - 0.08),
                (0.8, y - 0.22, 1),
                (0.8, y - 0.02, 1),
                (0, y + 0.115),
                (-0.8, y - 0.02, 1),
            ]
        ),
        "dark",
        gradient=0,
        cylinder=0.6,
        clip=True,
    )
    return d


def draw_watch(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=14)
    strap, taper = rng.uniform(0.34, 0.39), rng.uniform(0.03, 0.08)
    case = rng.uniform(0.46, 0.5)
    for s in (-1, 1):
        end = strap - taper
        d.fill(
            mirror(
                [
                    (0, s * 0.2),
                    (strap, s * 0.2, 1),
                    (strap, s * 0.4),
                    (end, s * 0.94),
                    (end - 0.06, s * 1.0),
                    (0, s * 1.0),
                ]
            ),
            gradient=0.1,
            cylinder=0.6,
        )
    for k in (0.62, 0.74, 0.86):
        d.line([(0, k), (0, k + 0.005)], 0.075, "dark")
    d.line([(-strap + taper, -0.68), (strap - taper, -0.68)], 0.09, tone=-0.75)
    d.line([(case, 0.0), (case + 0.06, 0.0)], 0.11, "metal", 0.0)
    d.fill(ellipse(0, 0, case, case), gradient=0.5, bevel=0.7)
    d.fill(ellipse(0, 0, case - 0.14, case - 0.14), "dial", gradient=0.2)
    for x, y in ((0, -1), (1, 0), (0, 1), (-1, 0)):
        inner, outer = case - 0.225, case - 0.2
        d.line([(x * inner, y * inner), (x * outer, y * outer)], 0.045, "dark")
    hour, minute = rng.uniform(3.6, 4.4), rng.uniform(-0.4, 0.4)
    d.line([(0, 0), (0.14 * np.cos(hour), 0.14 * np.sin(hour))], 0.065, "dark")
    d.line([(0, 0), (0.22 * np.cos(minute - 0.9), 0.22 * np.sin(minute - 0.9))], 0.05, "dark")
    return d


def draw_umbrella(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=12, flips=True)
    dome, rim = rng.uniform(-0.82, -0.7), rng.uniform(0.0, 0.06)
    scallop, stem = rng.uniform(0.09, 0.15), rng.uniform(0.62, 0.76)
    d.line([(0, dome - 0.14), (0, dome)], 0.07, "metal", -0.2)
    d.line([(0, -0.3), (0, stem, 0)], 0.075, "metal", -0.2, bevel=0.6)
    d.line(
        [
            (0, stem - 0.08),
            (0.0, stem + 0.08),
            (0.05, stem + 0.2),
            (0.14, stem + 0.235),
            (0.23, stem + 0.19),
            (0.26, stem + 0.08),
        ],
        0.1,
        "wood",
        bevel=0.6,
    )
    ribs = np.array([-0.98, -0.36, 0.36, 0.98])
    nodes: list[Node] = [
        (-0.98, rim, 1),
        (-0.86, rim - 0.34),
        (-0.48, dome + 0.14),
        (0, dome),
        (0.48, dome + 0.14),
        (0.86, rim - 0.34),
    ]
    drop = np.array([0.0, 0.07, 0.07, 0.0])
    for i in (3, 2, 1):
        middle = 0.5 * (ribs[i] + ribs[i - 1])
        nodes += [
            (ribs[i], rim + drop[i], 1),
            (middle, rim - scallop + 0.5 * (drop[i] + drop[i - 1])),
        ]
    d.fill(spline(nodes), gradient=0.5, bevel=0.55)
    centre: list[Node] = [
        (0, dome, 1),
        (0.26, dome + 0.3),
        (0.36, rim + 0.2, 1),
        (-0.36, rim + 0.2, 1),
        (-0.26, dome + 0.3),
    ]
    d.fill(spline(centre), tone=0.18, gradient=0.2, clip=True)
    d.glow(
        spline([(-0.2, dome + 0.12), (-0.55, dome + 0.25), (-0.75, rim - 0.25), (-0.5, rim - 0.3)]),
        0.4,
        0.07,
    )
    for s in (-1, 1):
        d.line([(0, dome), (s * 0.26, dome + 0.3), (s * 0.36, rim + 0.2)], 0.05, tone=-0.75, clip=True)
    return d


def draw_teapot(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=3, flips=True, ground=(0, 0.72, 0.55))
    wide, top = rng.uniform(0.56, 0.63), rng.uniform(-0.4, -0.32)
    spout, loop = rng.uniform(-0.36, -0.24), rng.uniform(0.86, 0.98)
    d.line(
        [
            (wide - 0.16, -0.2),
            (loop - 0.12, -0.3),
            (loop, 0.05),
            (loop - 0.18, 0.42),
            (wide - 0.14, 0.46),
        ],
        0.135,
        tone=-0.15,
        bevel=0.7,
    )
    d.fill(
        spline(
            [
                (-wide + 0.2, -0.02),
                (-wide - 0.1, -0.0),
                (-0.83, spout + 0.1),
                (-0.92, spout, 1),
                (-1.07, spout + 0.06, 1),
                (-0.95, 0.16),
                (-0.72, 0.42),
                (-wide + 0.2, 0.5),
            ]
        ),
        gradient=0.4,
        bevel=0.5,
    )
    d.fill(
        mirror(
            [
                (0, top),
                (0.32, top + 0.02),
                (wide - 0.06, -0.1),
                (wide, 0.2),
                (wide - 0.12, 0.52),
                (0.34, 0.7),
                (0, 0.72),
            ]
        ),
        gradient=0.35,
        bevel=0.75,
    )
    d.glow(ellipse(-0.26, -0.02, 0.1, 0.13), 0.75, 0.06)
    d.glow(spline([(-0.5, 0.58), (0, 0.66), (0.56, 0.4), (0.6, 0.8), (-0.5, 0.8)]), -0.4, 0.08)
    d.fill(ellipse(0, top - 0.17, 0.095, 0.09), "wood", gradient=0.5, bevel=0.4)
    d.fill(
        mirror(
            [
                (0, top - 0.12),
                (0.16, top - 0.09),
                (0.35, top + 0.05),
                (0.2, top + 0.11),
                (0, top + 0.125),
            ]
        ),
        tone=0.1,
        gradient=0.3,
        bevel=0.4,
    )
    d.line(
        [
            (-0.34, top + 0.065),
            (-0.2, top + 0.12),
            (0, top + 0.14),
            (0.2, top + 0.12),
            (0.34, top + 0.065),
        ],
        0.05,
        tone=-0.85,
    )
    d.line([(-0.36, 0.69), (0, 0.715), (0.36, 0.69)], 0.075, tone=-0.75)
    return d


DRAWINGS: dict[str, Callable[[Rng], Drawing]] = {
    "t-shirt": draw_t_shirt,
    "dress": draw_dress,
    "jeans": draw_jeans,
    "sneaker": draw_sneaker,
    "backpack": draw_backpack,
    "handbag": draw_handbag,
    "mug": draw_mug,
    "bottle": draw_bottle,
    "chair": draw_chair,
    "lamp": draw_lamp,
    "hat": draw_hat,
    "watch": draw_watch,
    "umbrella": draw_umbrella,
    "teapot": draw_teapot,
}

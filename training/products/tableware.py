"""Tableware: mug, bottle, teapot."""

from training.products.drawing import Drawing
from training.products.geometry import Points, Rng, arch, block, ellipse, mirror, path, spline


def draw_mug(rng: Rng) -> Drawing:
    height, taper = rng.uniform(0.68, 0.85), rng.uniform(0.0, 0.1)
    d = Drawing(tilt_deg=3, flips=True, ground=(-0.18, height, 0.6))
    loop, rim = rng.uniform(0.3, 0.4), rng.uniform(0.11, 0.16)
    x, r, top = -0.18, 0.62, -height
    lower = r - taper
    h0, h1 = top + 0.36 * height, top + 1.5 * height
    ear = path((x + r - 0.1, h0), (x + r + loop * 0.7, h0 + 0.03), (x + r + loop, 0.5 * (h0 + h1) - 0.06))
    d.line([*ear, (x + r + loop * 0.6, h1 - 0.05), (x + lower - 0.06, h1 + 0.03)], 0.17, tone=-0.15, bevel=0.7)
    d.fill(_mug_body(x, r, height, taper), gradient=0, cylinder=0.75)
    foot = path((x - r, height - 0.12), (x, height - 0.04), (x + r, height - 0.12))
    d.glow(spline(*foot, (x + r, height + 0.1), (x - r, height + 0.1)), -0.35, 0.06)
    d.fill(ellipse(x, top, r, rim), tone=0.45, gradient=0.1)
    d.fill(ellipse(x, top + 0.012, r - 0.065, rim - 0.045), "cream", -0.55, gradient=-0.6)
    return d


def _mug_body(x: float, r: float, height: float, taper: float) -> Points:
    top, lower = -height, r - taper
    left = path((x - r, top, 1), (x - r + 0.3 * taper, 0), (x - lower, height - 0.14))
    foot = path((x - lower + 0.12, height - 0.01), (x, height + 0.05), (x + lower - 0.12, height - 0.01))
    right = path((x + lower, height - 0.14), (x + r - 0.3 * taper, 0), (x + r, top, 1))
    return spline(*left, *foot, *right)


def draw_bottle(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=3, ground=(0, 0.98, 0.36))
    r, shoulder = rng.uniform(0.31, 0.38), rng.uniform(-0.5, -0.38)
    neck = rng.uniform(0.14, 0.18)
    label = rng.uniform(0.12, 0.2)
    throat = path((0, -0.75), (neck, -0.75, 1), (neck, -0.66), (neck + 0.05, shoulder - 0.12))
    body = path((r - 0.03, shoulder + 0.08), (r, shoulder + 0.3), (r, 0.82), (r - 0.06, 0.95), (0, 0.99))
    d.fill(mirror(*throat, *body), gradient=0, cylinder=0.8)
    d.glow(block(-0.6 * r, shoulder + 0.1, -0.4 * r, 0.85, 0.03), 0.45, 0.03)
    _label(d, 0.2, label)
    d.line([(-0.6, 0.84), (0, 0.88), (0.6, 0.84)], 0.045, tone=-0.7, clip=True)
    d.fill(block(-neck - 0.04, -1.0, neck + 0.04, -0.72, 0.05), "dark", gradient=0, cylinder=0.9)
    d.line([(-neck - 0.1, -0.8), (neck + 0.1, -0.8)], 0.045, "dark", -0.9, clip=True)
    return d


def _label(d: Drawing, y: float, half: float) -> None:
    """Paper band round the bottle with one printed line."""
    upper = path((-0.6, y - half, 1), (0, y - half + 0.045), (0.6, y - half, 1))
    lower = path((0.6, y + half, 1), (0, y + half + 0.045), (-0.6, y + half, 1))
    d.fill(spline(*upper, *lower), "cream", gradient=0, cylinder=0.4, clip=True)
    d.line([(-0.15, y + 0.035), (0.15, y + 0.035)], 0.075, tone=-0.2)


def draw_teapot(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=3, flips=True, ground=(0, 0.72, 0.55))
    wide, top = rng.uniform(0.56, 0.63), rng.uniform(-0.4, -0.32)
    spout, loop = rng.uniform(-0.36, -0.24), rng.uniform(0.86, 0.98)
    handle = path((wide - 0.16, -0.2), (loop - 0.12, -0.3), (loop, 0.05), (loop - 0.18, 0.42), (wide - 0.14, 0.46))
    d.line(handle, 0.135, tone=-0.15, bevel=0.7)
    d.fill(_spout(wide, spout), gradient=0.4, bevel=0.5)
    belly = path((0, top), (0.32, top + 0.02), (wide - 0.06, -0.1), (wide, 0.2), (wide - 0.12, 0.52))
    d.fill(mirror(*belly, (0.34, 0.7), (0, 0.72)), gradient=0.35, bevel=0.75)
    d.glow(ellipse(-0.26, -0.02, 0.1, 0.13), 0.75, 0.06)
    d.glow(spline((-0.5, 0.58), (0, 0.66), (0.56, 0.4), (0.6, 0.8), (-0.5, 0.8)), -0.4, 0.08)
    _lid(d, top)
    d.line([(-0.36, 0.69), (0, 0.715), (0.36, 0.69)], 0.075, tone=-0.75)
    return d


def _spout(wide: float, tip_y: float) -> Points:
    upper = path((-wide + 0.2, -0.02), (-wide - 0.1, -0.0), (-0.83, tip_y + 0.1))
    mouth = path((-0.92, tip_y, 1), (-1.07, tip_y + 0.06, 1))
    return spline(*upper, *mouth, (-0.95, 0.16), (-0.72, 0.42), (-wide + 0.2, 0.5))


def _lid(d: Drawing, top: float) -> None:
    d.fill(ellipse(0, top - 0.17, 0.095, 0.09), "wood", gradient=0.5, bevel=0.4)
    cap = mirror((0, top - 0.12), (0.16, top - 0.09), (0.35, top + 0.05), (0.2, top + 0.11), (0, top + 0.125))
    d.fill(cap, tone=0.1, gradient=0.3, bevel=0.4)
    d.line(arch((-0.34, top + 0.065), (-0.2, top + 0.12), (0, top + 0.14)), 0.05, tone=-0.85)

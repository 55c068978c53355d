"""Accessories: hat, watch, umbrella."""

import numpy as np

from training.products.drawing import Drawing
from training.products.geometry import Points, Rng, arch, disc, ellipse, mirror, path, spline


def draw_hat(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=6, flips=True, ground=(0, 0.5, 0.9))
    crown, top = rng.uniform(0.5, 0.58), rng.uniform(-0.72, -0.58)
    brim, dip = rng.uniform(0.2, 0.27), rng.uniform(0.0, 0.08)
    y = 0.24
    back = arch((-1.0, y - dip), (-0.6, y - 0.1), (0, y - 0.14))
    front = arch((0.65, y + 0.85 * brim), (0, y + brim + 0.05))
    d.fill(spline(*back, *front), tone=-0.05, gradient=0.4, bevel=0.5)
    d.glow(ellipse(0.1, y + 0.1, crown + 0.05, 0.1), -0.9, 0.06)
    d.fill(_crown(crown, top, y), gradient=0.1, cylinder=0.55)
    dent = spline((-0.2, top + 0.03), (0, top + 0.05), (0.22, top + 0.03), (0.08, top + 0.3))
    d.glow(dent, -0.6, 0.05)
    ribbon_top, ribbon_end = arch((-0.8, y - 0.22, 1), (0, y - 0.08)), arch((0.8, y - 0.02, 1), (0, y + 0.115))
    d.fill(spline(*ribbon_top, *ribbon_end), "dark", gradient=0, cylinder=0.6, clip=True)
    return d


def _crown(half: float, top: float, y: float) -> Points:
    side = path((-half, y, 1), (-half + 0.04, -0.2), (-half + 0.14, top + 0.1))
    hem = arch((0.5 * half, y + 0.09), (0, y + 0.115))
    return spline(*arch(*side, (-0.22, top), (0, top + 0.06)), *hem)


def draw_watch(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=14)
    strap, taper = rng.uniform(0.34, 0.39), rng.uniform(0.03, 0.08)
    case = rng.uniform(0.46, 0.5)
    _strap(d, strap, strap - taper)
    d.line([(-strap + taper, -0.68), (strap - taper, -0.68)], 0.09, tone=-0.75)
    d.line([(case, 0.0), (case + 0.06, 0.0)], 0.11, "metal", 0.0)
    d.fill(disc(0, 0, case), gradient=0.5, bevel=0.7)
    d.fill(disc(0, 0, case - 0.14), "dial", gradient=0.2)
    for x, y in ((0, -1), (1, 0), (0, 1), (-1, 0)):
        inner, outer = case - 0.225, case - 0.2
        d.line([(x * inner, y * inner), (x * outer, y * outer)], 0.045, "dark")
    hour, minute = rng.uniform(3.6, 4.4), rng.uniform(-0.4, 0.4)
    d.line([(0, 0), (0.14 * np.cos(hour), 0.14 * np.sin(hour))], 0.065, "dark")
    d.line([(0, 0), (0.22 * np.cos(minute - 0.9), 0.22 * np.sin(minute - 0.9))], 0.05, "dark")
    return d


def _strap(d: Drawing, half: float, end: float) -> None:
    """Both halves of the strap, and the holes in the lower one."""
    for s in (-1, 1):
        lug = path((0, s * 0.2), (half, s * 0.2, 1), (half, s * 0.4))
        d.fill(mirror(*lug, (end, s * 0.94), (end - 0.06, s * 1.0), (0, s * 1.0)), gradient=0.1, cylinder=0.6)
    for k in (0.62, 0.74, 0.86):
        d.line([(0, k), (0, k + 0.005)], 0.075, "dark")


def draw_umbrella(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=12, flips=True)
    dome, rim = rng.uniform(-0.82, -0.7), rng.uniform(0.0, 0.06)
    scallop, stem = rng.uniform(0.09, 0.15), rng.uniform(0.62, 0.76)
    d.line([(0, dome - 0.14), (0, dome)], 0.07, "metal", -0.2)
    d.line([(0, -0.3), (0, stem)], 0.075, "metal", -0.2, bevel=0.6)
    crook = path((0.05, stem + 0.2), (0.14, stem + 0.235), (0.23, stem + 0.19), (0.26, stem + 0.08))
    d.line([(0, stem - 0.08), (0.0, stem + 0.08), *crook], 0.1, "wood", bevel=0.6)
    d.fill(_canopy(dome, rim, scallop), gradient=0.5, bevel=0.55)
    gore = path((0.26, dome + 0.3), (0.36, rim + 0.2, 1), (-0.36, rim + 0.2, 1), (-0.26, dome + 0.3))
    d.fill(spline((0, dome, 1), *gore), tone=0.18, gradient=0.2, clip=True)
    gleam = spline((-0.2, dome + 0.12), (-0.55, dome + 0.25), (-0.75, rim - 0.25), (-0.5, rim - 0.3))
    d.glow(gleam, 0.4, 0.07)
    for s in (-1, 1):
        d.line([(0, dome), (s * 0.26, dome + 0.3), (s * 0.36, rim + 0.2)], 0.05, tone=-0.75, clip=True)
    return d


def _canopy(dome: float, rim: float, scallop: float) -> Points:
    """Dome with a rim that hangs in scallops between four ribs."""
    slope = path((-0.98, rim, 1), (-0.86, rim - 0.34), (-0.48, dome + 0.14))
    outer_valley = (0.5 * (0.98 + 0.36), rim - scallop + 0.5 * 0.07)
    hem = arch(outer_valley, (0.36, rim + 0.07, 1), (0, rim - scallop + 0.07))
    return spline(*arch(*slope, (0, dome)), *hem)

"""Furniture: chair, lamp."""

import numpy as np

from training.products.drawing import Drawing
from training.products.geometry import Rng, arch, ellipse, mirror, path, spline


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
    _chair_back(d, back, top, lean)
    _chair_seat(d, seat)
    return d


def _chair_back(d: Drawing, half: float, top: float, lean: float) -> None:
    crest = path((0, top), (half - 0.12, top + 0.03), (half, top + 0.18))
    panel = mirror(*crest, (half - 0.03, -0.22), (half - 0.14, -0.11), (0, -0.1))
    d.fill(panel + np.array([lean, 0.0]), gradient=0.35, bevel=0.6)
    for k in (-0.36, 0.36):
        d.line([(k * half + lean, top + 0.13), (k * half + lean, -0.22)], 0.05, tone=-0.7)
    d.glow(ellipse(-0.6 * half + lean, top + 0.3, 0.06, 0.14), 0.4, 0.06)


def _chair_seat(d: Drawing, half: float) -> None:
    """The seat's front edge in shade, and the seat itself over it."""
    edge = path((half, 0.2), (half + 0.02, 0.34), (half - 0.06, 0.42), (0, 0.44))
    d.fill(mirror((0, 0.02), (half - 0.12, 0.03), *edge), tone=-0.6, gradient=0.2)
    face = path((half - 0.02, 0.12), (half + 0.03, 0.27), (half - 0.07, 0.325), (0, 0.335))
    d.fill(mirror((0, 0.0), (half - 0.13, 0.01), *face), tone=0.1, gradient=0.3, bevel=0.4)


def draw_lamp(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=2, ground=(0, 0.95, 0.5))
    top, bottom = rng.uniform(0.26, 0.42), rng.uniform(0.6, 0.7)
    edge = rng.uniform(0.02, 0.14)
    base = rng.uniform(0.3, 0.38)
    d.line([(0, 0.0), (0, 0.88)], 0.1, "metal", -0.1, bevel=0.8)
    d.fill(ellipse(0, edge + 0.18, 0.1, 0.06), "metal", 0.0, gradient=0.6)
    foot = mirror((0, 0.76), (0.1, 0.78), (base, 0.89), (base, 0.96), (0, 1.0))
    d.fill(foot, "metal", -0.25, gradient=0, cylinder=0.8)
    hem = arch((bottom, edge, 1), (0.5 * bottom, edge + 0.075), (0, edge + 0.1))
    d.fill(spline((-top, -0.9, 1), (0, -0.86), (top, -0.9, 1), *hem), gradient=0, cylinder=0.7)
    d.line(arch((-bottom - 0.05, edge - 0.08), (0, edge + 0.025)), 0.05, tone=-0.75, clip=True)
    d.line(arch((-top - 0.06, -0.8), (0, -0.745)), 0.045, tone=-0.6, clip=True)
    d.fill(ellipse(0, -0.9, top, 0.055), tone=-0.8, gradient=0.2)
    return d

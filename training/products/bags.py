"""Bags: backpack, handbag."""

from training.products.drawing import Drawing
from training.products.geometry import Rng, arch, block, disc, ellipse, mirror, path


def draw_backpack(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=4, ground=(0, 0.95, 0.62))
    width, top = rng.uniform(0.56, 0.64), rng.uniform(-0.88, -0.8)
    pocket, pocket_top = rng.uniform(0.4, 0.46), rng.uniform(0.12, 0.22)
    for s in (-1, 1):
        _shoulder_strap(d, s, width)
    d.line([(-0.18, top + 0.06), (-0.14, top - 0.15), (0.14, top - 0.15), (0.18, top + 0.06)], 0.085, "dark")
    dome = path((0, top), (0.3, top + 0.03), (width - 0.07, top + 0.3), (width, 0.0))
    base = path((width + 0.02, 0.6), (width - 0.06, 0.88), (0.3, 0.95), (0, 0.95))
    d.fill(mirror(*dome, *base), gradient=0.35, bevel=0.6)
    d.glow(ellipse(-0.28, top + 0.45, 0.1, 0.2), 0.5, 0.1)
    zip_line = arch((-width + 0.12, 0.02), (-width + 0.16, top + 0.36), (-0.25, top + 0.17), (0, top + 0.14))
    d.line(zip_line, 0.055, "dark")
    d.line([(width - 0.12, 0.02), (width - 0.12, 0.12)], 0.075, "metal", 0.2)
    _front_pocket(d, pocket, pocket_top)
    d.fill(block(-0.13, -0.32, 0.13, -0.14, 0.05), "cream", gradient=0.2)
    return d


def _shoulder_strap(d: Drawing, s: int, width: float) -> None:
    """Strap and the side pocket over its lower end."""
    shoulder = path((s * 0.34, -0.6), (s * (width + 0.1), -0.3))
    d.line([*shoulder, (s * (width + 0.13), 0.3), (s * (width - 0.04), 0.76)], 0.11, tone=-0.65)
    inner, outer = sorted((s * 0.4, s * (width + 0.13)))
    d.fill(block(inner, 0.22, outer, 0.86, 0.13), tone=-0.4, bevel=0.4)


def _front_pocket(d: Drawing, half: float, top: float) -> None:
    d.fill(block(-half, top, half, 0.84, 0.14), tone=-0.12, gradient=0.3, bevel=0.5)
    d.line([(-half + 0.1, top + 0.15), (half - 0.1, top + 0.15)], 0.055, "dark")
    d.line([(-half + 0.13, top + 0.16), (-half + 0.13, top + 0.27)], 0.07, "metal", 0.2)


def draw_handbag(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=4, ground=(0, 0.8, 0.85))
    top, base = rng.uniform(0.6, 0.7), rng.uniform(0.8, 0.92)
    rise, flap = rng.uniform(-0.95, -0.8), rng.uniform(0.2, 0.34)
    span = rng.uniform(0.34, 0.42)
    handle = arch((-span, -0.1), (-span + 0.02, -0.5), (-span * 0.62, rise + 0.08), (0, rise))
    d.line(handle, 0.12, tone=-0.4, bevel=0.5)
    body = mirror((0, -0.19), (top - 0.08, -0.19), (top, -0.12), (base, 0.68), (base - 0.1, 0.8), (0, 0.8))
    d.fill(body, gradient=0.4, bevel=0.6)
    d.glow(ellipse(-0.5, 0.45, 0.1, 0.2), 0.4, 0.1)
    _flap(d, top, flap)
    d.line([(-base + 0.14, 0.69), (base - 0.14, 0.69)], 0.045, tone=-0.65)
    d.fill(block(-0.1, flap - 0.06, 0.1, flap + 0.17, 0.05), "metal", 0.3, gradient=0.6)
    d.line([(0, flap + 0.02), (0, flap + 0.09)], 0.055, "dark")
    for s in (-1, 1):
        d.fill(disc(s * span, -0.08, 0.065), "metal", 0.2, gradient=0.5)
    return d


def _flap(d: Drawing, top: float, flap: float) -> None:
    hinge = path((0, -0.19), (top - 0.08, -0.19), (top, -0.11))
    d.fill(mirror(*hinge, (top - 0.05, 0.05), (0.36, flap), (0, flap + 0.06)), tone=0.1, gradient=0.25, bevel=0.4)
    d.line(arch((-top + 0.04, 0.07), (-0.36, flap + 0.02), (0, flap + 0.08)), 0.055, tone=-0.9)

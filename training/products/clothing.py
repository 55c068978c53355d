"""Clothes and shoes: t-shirt, dress, jeans, sneaker."""

from training.products.drawing import Drawing
from training.products.geometry import Node, Points, Rng, arch, disc, ellipse, mirror, path, spline

Point = tuple[float, float]


def draw_t_shirt(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=6)
    neck, depth = rng.uniform(0.22, 0.28), rng.uniform(0.2, 0.32)
    side, hem = rng.uniform(0.5, 0.57), rng.uniform(0.8, 0.95)
    sleeve = rng.uniform(0.0, 1.0)
    tip = (0.86 + 0.14 * sleeve, -0.26 + 0.2 * sleeve)
    inner = (0.62 + 0.12 * sleeve, -0.1 + 0.2 * sleeve)
    pit = (side - 0.01, -0.26)
    shoulder = path((neck, -0.8, 1), (0.58, -0.67), (*tip, 1), (*inner, 1), (*pit, 1))
    waist = path((side - 0.02, 0.25), (side + 0.02, hem, 1), (0, hem + 0.04))
    d.fill(mirror(*shoulder, *waist)[:-9], gradient=0.35, bevel=0.5)
    d.glow(ellipse(-0.2, 0.05, 0.14, 0.4), 0.35, 0.13)
    d.glow(spline((side, -0.2), (side - 0.2, 0.3), (side - 0.06, hem), (side + 0.1, hem)), -0.45, 0.1)
    _collar(d, neck, depth)
    for s in (-1, 1):
        _sleeve_seams(d, s, pit, tip, inner)
    d.line(arch((-side + 0.02, hem - 0.09), (0, hem - 0.055)), 0.045, tone=-0.7)
    return d


def _collar(d: Drawing, neck: float, depth: float) -> None:
    """Inside of the back, the ribbed band and its seam."""
    band = arch((-neck, -0.8), (-0.6 * neck, -0.8 + 0.75 * depth), (0, -0.8 + depth))
    back = spline((-neck, -0.8, 1), *band[1:-1], (neck, -0.8, 1), (0, -0.72))
    d.fill(back, tone=-1.0, gradient=0, clip=True)
    d.line(band, 0.085, tone=0.3, clip=True)
    d.line([(x * 1.14, y + 0.06) for x, y, *_ in band[1:-1]], 0.035, tone=-0.7)


def _sleeve_seams(d: Drawing, s: int, pit: Point, tip: Point, inner: Point) -> None:
    d.line([(s * 0.53, -0.66), (s * 0.46, -0.45), (s * pit[0], pit[1])], 0.05)
    outer_cuff, inner_cuff = ((s * (x - 0.06), y - 0.075) for x, y in (tip, inner))
    d.line([(outer_cuff[0] + s * 0.012, outer_cuff[1] + 0.01), inner_cuff], 0.045, tone=-0.7)


def draw_dress(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=5)
    waist, flare = rng.uniform(0.2, 0.26), rng.uniform(0.55, 0.75)
    depth, waist_y = rng.uniform(0.22, 0.36), rng.uniform(-0.2, -0.1)
    hem = rng.uniform(0.88, 1.0)
    strap = path((0, -0.98 + depth), (0.15, -0.98 + 0.7 * depth), (0.2, -0.98, 1), (0.32, -0.97, 1))
    bodice = path((0.29, -0.72), (0.39, -0.52, 1), (waist + 0.04, -0.3), (waist, waist_y))
    skirt = path((0.5 * (waist + flare) - 0.04, 0.3), (flare, hem - 0.06, 1), (0.35 * flare, hem), (0, hem))
    d.fill(mirror(*strap, *bodice, *skirt), gradient=0.35, bevel=0.5)
    d.glow(ellipse(-0.12, -0.45, 0.08, 0.2), 0.4, 0.08)
    for k in (-0.62, -0.2, 0.24, 0.66):
        d.fill(_fold(0.75 * k * waist, waist_y, k * flare, hem), tone=-0.55 if k > 0 else -0.4, gradient=0, clip=True)
    d.glow(spline((-0.12, 0.1, 1), (-0.4 * flare, hem, 1), (-0.5 * flare, hem, 1)), 0.45, 0.05)
    d.line(arch((-waist - 0.05, waist_y), (0, waist_y + 0.045)), 0.13, tone=-0.85, clip=True)
    neck = arch((-0.19, -0.94), (-0.15, -0.96 + 0.7 * depth), (0, -0.955 + depth))
    d.line(neck, 0.05, tone=-0.6, clip=True)
    return d


def _fold(top: float, waist_y: float, end: float, hem: float) -> Points:
    bend = (0.45 * end + 0.5 * top + 0.02, 0.4)
    return spline((top, waist_y + 0.12, 1), bend, (end + 0.075, hem + 0.05, 1), (end - 0.055, hem + 0.05, 1))


def draw_jeans(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=5)
    waist, hip = rng.uniform(0.36, 0.41), rng.uniform(0.46, 0.52)
    spread, cuff = rng.uniform(0.46, 0.6), rng.uniform(0.22, 0.3)
    crotch = rng.uniform(-0.28, -0.18)
    outseam = path((0, -0.93), (waist, -0.97, 1), (waist + 0.03, -0.82), (hip, -0.4), (spread, 0.97, 1))
    inseam = path((spread - cuff, 0.99, 1), (0.035, crotch, 1), (0, crotch - 0.01))
    d.fill(mirror(*outseam, *inseam), gradient=0.35, bevel=0.55)
    for s in (-1, 1):
        leg, foot = 0.5 * (hip + 0.02) * s, s * (spread - cuff / 2)
        d.glow(spline((leg - 0.05, -0.3), (foot - 0.05, 0.85), (foot + 0.02, 0.85), (leg + 0.05, -0.3)), 0.45, 0.07)
        pocket = path((s * waist * 0.5, -0.8), (s * waist * 0.62, -0.66), (s * (waist + 0.1), -0.58))
        d.line(pocket, 0.05, clip=True)
        d.line([(s * (spread - cuff - 0.05), 0.88), (s * (spread + 0.05), 0.86)], 0.05, clip=True)
        d.line([(s * waist * 0.62, -0.93), (s * waist * 0.62, -0.8)], 0.055, tone=-0.6, clip=True)
    d.glow(spline((0, crotch - 0.15), (0.2, 0.3), (0.12, 0.6), (0, 0.1)), -0.5, 0.06)
    d.line(arch((-waist - 0.08, -0.81), (0, -0.775)), 0.05, clip=True)
    d.line([(0, -0.78), (0, crotch)], 0.05)
    d.line([(0.13, -0.77), (0.125, -0.58), (0, -0.42)], 0.042, tone=-0.7)
    d.fill(disc(0, -0.86, 0.045), "metal", 0.2, gradient=0.5)
    return d


def draw_sneaker(rng: Rng) -> Drawing:
    d = Drawing(tilt_deg=5, flips=True, ground=(0, 0.5, 0.95))
    ankle, toe = rng.uniform(-0.5, -0.38), rng.uniform(-0.04, 0.03)
    sole = rng.uniform(0.11, 0.15)
    d.fill(spline(*_sneaker_upper(ankle, toe)), gradient=0.4, bevel=0.55)
    lining = path((0.8, ankle - 0.02), (0.62, ankle + 0.02), (0.4, ankle + 0.05), (0.15, ankle - 0.04))
    d.fill(spline(*lining, (0.3, ankle + 0.17), (0.56, ankle + 0.19)), "dark", gradient=0, clip=True)
    cap = spline((-1.1, toe), (-0.76, toe - 0.1, 1), (-0.64, 0.15), (-0.66, 0.42, 1), (-1.1, 0.45, 1))
    d.fill(cap, "cream", clip=True, bevel=0.3)
    counter = spline((1, ankle - 0.1), (0.76, ankle - 0.1, 1), (0.7, -0.1), (0.76, 0.4, 1), (1.1, 0.4, 1))
    d.fill(counter, tone=-0.7, clip=True)
    d.line([(0.14, ankle + 0.18), (-0.02, 0.05), (-0.42, 0.13), (-0.62, 0.14)], 0.05, clip=True)
    d.line([(0.1, ankle + 0.45), (0.34, 0.0), (0.5, 0.36)], 0.05, tone=-0.7, clip=True)
    tread = path((0.97, 0.33 + sole), (0.8, 0.36 + sole), (-0.7, 0.36 + sole), (-0.98, 0.31 + sole))
    midsole = spline((-0.99, 0.31, 1), (-0.5, 0.35), (0.2, 0.33), (0.95, 0.29, 1), *tread)
    d.fill(midsole, "cream", gradient=0.3, bevel=0.4)
    d.line([(-0.9, 0.3 + sole), (0.9, 0.3 + sole)], 0.045, "cream", -0.9)
    for k in range(4):
        x, y = 0.07 - 0.14 * k, ankle + 0.1 + (0.105 + 0.05 * (toe - ankle - 0.45)) * k
        d.line([(x - 0.07, y - 0.03 + 0.02 * k), (x + 0.1, y + 0.09)], 0.065, "cream", 0.2)
    return d


def _sneaker_upper(ankle: float, toe: float) -> list[Node]:
    heel = path((0.9, 0.34, 1), (0.92, 0.0), (0.88, ankle + 0.02), (0.76, ankle - 0.06))
    collar = path((0.62, ankle + 0.08), (0.4, ankle + 0.14), (0.2, ankle - 0.05), (0.06, ankle - 0.02))
    vamp = path((-0.2, ankle + 0.3), (-0.52, toe - 0.07), (-0.84, toe + 0.06), (-0.98, 0.3), (-0.94, 0.4, 1))
    return [*heel, *collar, *vamp]

"""Procedural e-commerce product pictures: the data on which the built-in `tiny` model trains.

`render` is a pure function of a `Scene`. The product's drawing (`products`) is posed and fitted,
rasterised part by part (`stamps`) and painted (`painting`) over a studio backdrop in one of three
styles that share one geometry. Light comes from the upper left. Tones move a colour towards its
own shade or light, never across hues, so an orange stays orange.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.painting import WHITE, Brush, Inks, paint
from training.products import DRAWINGS, Drawing, Paint
from training.stamps import Array, Pose, Size, clipped, stamp_part, union

Rgb = tuple[int, int, int]

PRODUCTS: tuple[str, ...] = tuple(DRAWINGS)
COLOURS: dict[str, Rgb] = {
    "red": (212, 36, 44),
    "orange": (246, 130, 26),
    "yellow": (250, 210, 44),
    "green": (50, 160, 70),
    "teal": (8, 152, 158),
    "blue": (40, 92, 208),
    "purple": (124, 62, 178),
    "pink": (242, 112, 166),
    "brown": (122, 76, 46),
    "black": (40, 40, 45),
    "white": (244, 244, 243),
    "grey": (128, 132, 140),
}
BACKGROUNDS: dict[str, Rgb] = {
    "white": (246, 246, 247),
    "grey": (200, 203, 208),
    "beige": (237, 222, 198),
    "light blue": (186, 217, 246),
    "pink": (251, 216, 225),
    "mint": (200, 236, 216),
}
STYLES: tuple[str, ...] = ("photo", "sketch", "pastel")

SHADES: dict[str, Rgb] = {
    "orange": (206, 98, 10),
    "yellow": (214, 166, 12),
    "pink": (196, 62, 120),
    "black": (14, 14, 18),
    "white": (176, 181, 192),
}
LIGHTS: dict[str, Rgb] = {"black": (104, 106, 116), "white": (255, 255, 255)}
NEUTRALS: dict[Paint, Rgb] = {
    "cream": (238, 234, 226),
    "dark": (60, 62, 70),
    "metal": (178, 182, 190),
    "wood": (200, 156, 110),
    "dial": (248, 248, 246),
}
# A neutral that would vanish beside a main colour gives way to another value.
CONTRASTS: dict[tuple[str, Paint], Rgb] = {
    ("white", "cream"): (192, 196, 204),
    ("white", "metal"): (150, 154, 164),
    ("black", "dark"): (132, 134, 142),
    ("grey", "metal"): (216, 218, 224),
    ("brown", "wood"): (222, 190, 150),
    ("orange", "wood"): (150, 108, 72),
}
NEUTRAL_COLOURS = frozenset({"black", "white", "grey"})
SIZES_PX = (96, 1024)


@dataclass(frozen=True)
class Scene:
    """What to draw; checked on construction. `seed` drives shape, pose, light and jitter."""

    product: str
    colour: str
    background: str
    width_px: int = 128
    height_px: int = 128
    seed: int = 0
    style: str = "photo"

    def __post_init__(self) -> None:
        _require("product", self.product, PRODUCTS)
        _require("colour", self.colour, tuple(COLOURS))
        _require("background", self.background, tuple(BACKGROUNDS))
        _require("style", self.style, STYLES)
        low, high = SIZES_PX
        if not (low <= self.width_px <= high and low <= self.height_px <= high):
            raise ValueError(f"size {self.width_px}×{self.height_px}: each side must be {low} to {high} px.")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: must be 0 or above.")

    @property
    def size(self) -> Size:
        return self.width_px, self.height_px


@dataclass(frozen=True)
class Render:
    """A picture, (H, W, 3) uint8, and the object's coverage without shadow, (H, W) in [0, 1]."""

    rgb: NDArray[np.uint8]
    mask: Array


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} {value!r}: unknown. Choose one of {', '.join(allowed)}.")


def render(scene: Scene) -> Render:
    """Draw a scene; the same scene always gives the same bytes."""
    product = PRODUCTS.index(scene.product)
    shape_rng = np.random.default_rng((scene.seed, product))
    drawing = DRAWINGS[scene.product](shape_rng)
    pose = _fit(drawing, scene, shape_rng)
    look_rng = np.random.default_rng((scene.seed, product, 1))
    stamps = clipped([stamp_part(p, pose, scene.size) for p in drawing.parts], scene.size)
    mask = union([s for s in stamps if not s.part.soft], scene.size)
    light_rad = np.deg2rad(45 + look_rng.uniform(-18, 18))
    light = (float(np.cos(light_rad)), float(np.sin(light_rad)))
    inks = _palette(scene, look_rng)
    picture = _backdrop(scene, look_rng)
    _cast_shadow(picture, mask, drawing, pose, scene, look_rng)
    if scene.style == "pastel":
        _sticker_edge(picture, mask, scene)
    brush = Brush(scene.style, pose, light, scene.size, on_black=scene.colour == "black")
    for stamp in stamps:
        paint(picture, stamp, inks[stamp.part.paint], brush)
    return Render(np.clip(picture + 0.5, 0, 255).astype(np.uint8), mask)


def _fit(drawing: Drawing, scene: Scene, rng: np.random.Generator) -> Pose:
    """Rotate, flip and scale the drawing to about 65–82 % of the shorter side, near the centre."""
    angle = np.deg2rad(rng.uniform(-1, 1) * drawing.tilt_deg)
    mirrored = -1.0 if drawing.flips and rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirrored, 1.0])
    points = np.vstack([p.points for p in drawing.parts if not (p.clip or p.soft)]) @ turn.T
    low, high = points.min(0), points.max(0)
    extent = high - low
    size = np.array(scene.size, dtype=np.float64)
    fill = rng.uniform(0.64, 0.75)
    longer = int(np.argmax(size)) if size[0] != size[1] else None
    stretch = 1.12 if longer is not None and extent[longer] > 1.2 * extent[1 - longer] else 1.0
    scale = fill * stretch * size.min() / (0.8 * extent.max() + 0.2 * extent.min())
    scale = min(scale, *(0.86 * size / extent))
    room = np.maximum(0.5 * size - 0.5 * scale * extent - 0.06 * size, 0.0)
    shift = rng.uniform(-1, 1, 2) * np.minimum(room, 0.05 * size.min())
    return Pose(turn * scale, 0.5 * size + shift - 0.5 * scale * (low + high), float(scale))


def _inks(base: Array, shade: Rgb | None = None, light: Rgb | None = None) -> Inks:
    dark = 0.62 * base if shade is None else _rgb(shade)
    pale = base + 0.55 * (WHITE - base) if light is None else _rgb(light)
    return Inks(dark, base, pale)


def _palette(scene: Scene, rng: np.random.Generator) -> dict[Paint, Inks]:
    """Inks of every paint in the scene's style; the main colour varies a little by seed."""
    name = scene.colour
    tint = 1.0 if name in NEUTRAL_COLOURS else 4.0
    main = _rgb(COLOURS[name]) * (1 + rng.uniform(-0.04, 0.04)) + rng.uniform(-tint, tint, 3)
    body: Array = np.clip(main, 0, 250).astype(np.float32)
    inks: dict[Paint, Inks] = {"main": _inks(body, SHADES.get(name), LIGHTS.get(name))}
    for kind, rgb in NEUTRALS.items():
        inks[kind] = _inks(_rgb(CONTRASTS.get((name, kind), rgb)))
    return {kind: _styled(ink, name, scene.style) for kind, ink in inks.items()}


def reference_colours(style: str) -> dict[str, Rgb]:
    """What each of COLOURS looks like as an object's flat main colour in a style."""
    _require("style", style, STYLES)
    bases = {name: _styled(_inks(_rgb(rgb)), name, style).base for name, rgb in COLOURS.items()}
    return {name: (round(b[0]), round(b[1]), round(b[2])) for name, b in bases.items()}


def _rgb(colour: Rgb) -> Array:
    return np.array(colour, np.float32)


def _styled(ink: Inks, colour: str, style: str) -> Inks:
    if style == "photo":
        return ink
    return _sketch_inks(ink, colour) if style == "sketch" else _pastel_inks(ink, colour)


def _sketch_inks(ink: Inks, colour: str) -> Inks:
    mix = 0.14 if colour == "black" else 0.27
    base = ink.base + mix * (WHITE - ink.base)
    return Inks(base + 0.5 * (ink.base - base), base, base + 0.5 * (WHITE - base))


def _pastel_inks(ink: Inks, colour: str) -> Inks:
    base = ink.base + 0.45 * (WHITE - ink.base)
    if colour == "white":
        base = np.minimum(base, _rgb((232, 234, 240)))
    return Inks(base + 0.4 * (ink.base - base), base, base + 0.75 * (WHITE - base))


def _backdrop(scene: Scene, rng: np.random.Generator) -> Array:
    """Studio sweep: a wall that lightens upwards and a floor a little darker, softly joined."""
    height, width = scene.height_px, scene.width_px
    y = np.linspace(0, 1, height, dtype=np.float32)
    horizon, softness = rng.uniform(0.66, 0.8), rng.uniform(0.02, 0.08)
    floor = 1 / (1 + np.exp(-(y - horizon) / softness))
    level = 1 + rng.uniform(0.0, 0.015) - rng.uniform(0.01, 0.03) * y - rng.uniform(0.01, 0.035) * floor
    rgb = _rgb(BACKGROUNDS[scene.background])
    column = np.minimum(level.astype(np.float32)[:, None] * rgb, 253)
    return np.repeat(column[:, None], width, axis=1)


def _cast_shadow(
    picture: Array,
    mask: Array,
    drawing: Drawing,
    pose: Pose,
    scene: Scene,
    rng: np.random.Generator,
) -> None:
    """Darken the backdrop: a contact shadow on the ground, or a drop shadow under a flat lay."""
    softness, depth = rng.uniform(0.75, 1.3), rng.uniform(0.26, 0.36)
    if scene.style == "pastel":
        depth *= 0.5
    unit = min(scene.size) / 128
    if drawing.ground is None:
        shadow = 0.9 * _drop_shadow(mask, 3.0 * unit * softness, round(3 * unit))
    else:
        x, y, half = drawing.ground
        centre = pose.apply(np.array([[x, y]]))[0]
        shadow = _contact_shadow(mask.shape, centre, half * pose.scale, softness)
    picture *= 1 - depth * shadow[..., None]


def _drop_shadow(mask: Array, radius: float, shift: int) -> Array:
    sheet = Image.fromarray((mask * 255).astype(np.uint8)).reduce(2)
    soft = sheet.filter(ImageFilter.GaussianBlur(radius / 2)).resize(mask.shape[::-1], Image.Resampling.BILINEAR)
    shadow = np.zeros_like(mask)
    shadow[shift:, shift:] = np.asarray(soft, np.float32)[:-shift, :-shift] / 255
    return shadow


def _contact_shadow(shape: tuple[int, ...], centre: NDArray[np.float64], half: float, softness: float) -> Array:
    y = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(centre[1])
    x = np.arange(shape[1], dtype=np.float32)[None] - np.float32(centre[0] + 0.08 * half)
    wide = (x / (1.0 * half)) ** 2
    core = np.exp(-2 * (wide + (y / (0.07 * half * softness + 2)) ** 2))
    halo = np.exp(-1.6 * (wide * 0.75 + (y / (0.2 * half * softness + 2)) ** 2))
    shadow: Array = np.minimum(0.8 * core + 0.6 * halo, 1.2).astype(np.float32)
    return shadow


def _sticker_edge(picture: Array, mask: Array, scene: Scene) -> None:
    """White rim round the whole object, with a thin grey halo that shows on white too."""
    unit = min(scene.size) / 128
    rim = _grown(mask, 3.6 * unit)
    halo = np.maximum(rim, _grown(mask, 4.8 * unit))
    picture += (0.45 * halo)[..., None] * (_rgb((150, 154, 166)) - picture)
    picture += rim[..., None] * (WHITE - picture)


def _grown(mask: Array, radius: float) -> Array:
    """Coverage dilated by about `radius` px: blurs spread it, a steep ramp makes an edge."""
    sheet = Image.fromarray((mask * 255).astype(np.uint8))
    soft = sheet.filter(ImageFilter.GaussianBlur(0.6 * radius)).filter(ImageFilter.BoxBlur(radius / 3))
    return np.clip(np.asarray(soft, np.float32) / 255 * 9 - 0.6, 0, 1)

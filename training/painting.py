"""Stamps onto a picture in one of three styles: a lit photo, an inked sketch, a pastel sticker."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from training.stamps import Array, Pose, Size, Stamp, stamp_part

WHITE = np.full(3, 255.0, np.float32)
INK = np.array((34, 34, 40), np.float32)


@dataclass(frozen=True)
class Inks:
    """Shade, own colour and light of one paint, each (3,) in [0, 255]."""

    shade: Array
    base: Array
    light: Array


@dataclass(frozen=True)
class Brush:
    """How every part of one picture is painted.

    `light` is the unit vector along which light falls, x right, y down. On a black product
    (`on_black`) thin lines of its own colour turn light, where shade would not show.
    """

    style: str
    pose: Pose
    light: tuple[float, float]
    size: Size
    on_black: bool

    def px(self, thickness: float) -> float:
        """Pixels of a thickness given in 1/128 of the picture's shorter side."""
        return thickness * min(self.size) / 128


def paint(picture: Array, stamp: Stamp, ink: Inks, brush: Brush) -> None:
    """Composite one stamp onto the picture, (H, W, 3) in [0, 255], in the brush's style."""
    part = stamp.part
    if brush.style == "photo":
        tone = _shading(stamp, brush)
        if brush.on_black and part.width and part.paint == "main" and not part.bevel:
            tone = -0.6 * tone
        colour = _toned(ink, tone)
    elif part.soft:
        return
    elif brush.style == "sketch":
        _sketch(picture, stamp, ink, brush)
        return
    else:
        colour = _pastel(picture, stamp, ink, brush)
    _blend(picture, stamp, colour)


def _toned(ink: Inks, tone: Array | float) -> Array:
    t = np.clip(np.asarray(tone, np.float32), -1, 1)[..., None]
    colour: Array = ink.base + np.maximum(t, 0) * (ink.light - ink.base) + np.maximum(-t, 0) * (ink.shade - ink.base)
    return colour


def _shading(stamp: Stamp, brush: Brush) -> Array:
    """Tone of every pixel of a part: linear light, a cylinder's profile, bevelled edges."""
    part, light, (height, width) = stamp.part, brush.light, stamp.cover.shape
    u = np.linspace(-1, 1, width, dtype=np.float32)[None]
    v = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    tone = part.tone - part.gradient * (light[0] * u + light[1] * v)
    if part.cylinder:
        gleam = 0.95 * np.exp(-(((u + 0.45) / 0.26) ** 2))
        turn = 1.15 * np.clip(u - 0.05, 0, 1) ** 1.5 + 0.5 * np.clip(-u - 0.7, 0, 1) / 0.3
        tone = tone + part.cylinder * (gleam - turn)
    if part.bevel:
        tone = tone + part.bevel * _bevel(stamp.cover, brush.pose.scale, light)
    return np.broadcast_to(np.asarray(tone, np.float32), stamp.cover.shape)


def _bevel(cover: Array, scale: float, light: tuple[float, float]) -> Array:
    """Light on the edges that face the light, shade on those that turn away, in [-1, 1]."""
    radius = max(1.5, 0.075 * scale)
    pad = int(2 * radius) + 1
    sheet = Image.fromarray((np.pad(cover, pad) * 255).astype(np.uint8))
    soft = np.asarray(sheet.filter(ImageFilter.GaussianBlur(0.6 * radius)), np.float32) / 255
    dx, dy = round(radius * light[0]), round(radius * light[1])
    height, width = cover.shape
    away = soft[pad + dy : pad + dy + height, pad + dx : pad + dx + width]
    near = soft[pad - dy : pad - dy + height, pad - dx : pad - dx + width]
    edges: Array = np.asarray(1.1 * (away - near), np.float32)
    return edges


def _sketch(picture: Array, stamp: Stamp, ink: Inks, brush: Brush) -> None:
    """Flat pale fill, then its outline in ink; thin lines become ink strokes."""
    part, pose, size, line_px = stamp.part, brush.pose, brush.size, brush.px(2.6)
    if 0 < part.width < 0.09:
        thin = replace(part, width=min(part.width, line_px / pose.scale))
        _blend(picture, _cut(stamp_part(thin, pose, size), stamp, picture), INK)
        return
    colour = _toned(ink, 0.6 * part.tone)
    if part.width:
        outer, inner = (stamp_part(part, pose, size, grow) for grow in (line_px, -line_px))
        _blend(picture, _cut(outer, stamp, picture), INK)
        _blend(picture, _cut(inner, stamp, picture), colour)
        return
    _blend(picture, stamp, colour)
    ring = np.vstack([part.points, part.points[:1]])
    seam = 0.55 if part.clip and part.paint == "main" else 1.0
    edge = replace(part, points=ring, width=seam * line_px / pose.scale)
    _blend(picture, _cut(stamp_part(edge, pose, size), stamp, picture), INK)


def _pastel(picture: Array, stamp: Stamp, ink: Inks, brush: Brush) -> Array:
    """Flat colour of a part in the sticker style, after a white gap is cut around it."""
    part = stamp.part
    if part.width and part.width < 0.09 and part.paint == "main":
        return _toned(ink, 0.8)
    if not (part.clip or part.width) and part.paint == "main":
        _blend(picture, stamp_part(part, brush.pose, brush.size, brush.px(3.2)), WHITE)
    return _toned(ink, 0.7 * min(part.tone, 0.3))


def _cut(line: Stamp, stamp: Stamp, picture: Array) -> Stamp:
    """Keep a clipped part's ink inside what its own coverage shows."""
    if not stamp.part.clip:
        return line
    sheet = np.zeros(picture.shape[:2], np.float32)
    sheet[stamp.window] = np.minimum(1.0, 4 * stamp.cover)
    return replace(line, cover=line.cover * sheet[line.window])


def _blend(picture: Array, stamp: Stamp, colour: Array) -> None:
    target = picture[stamp.window]
    target += stamp.cover[..., None] * (colour - target)

"""A line or block of text as a picture with transparency, in a size that fits."""

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ops.watermark_files import FontFace, WatermarkError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SMALLEST_LINE_PX = 12
"""A line that does not fit is shrunk to this size, then wrapped."""

SMALLEST_BLOCK_PX = 6
"""A wrapped block that does not fit is shrunk to this size, then refused."""

_SHRINK = 0.92
_LINE_GAP = 0.25
_OUTLINE_WIDTH = 1 / 40
_OUTLINE_OPACITY = 0.4

# Chinese, Japanese and Korean may break at any character, everything else between words.
_BREAKABLE = re.compile(
    r"\s+|[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+"
)


def render_text(text: str, face: FontFace, color: str, size_px: int, room_px: tuple[int, int]) -> "Image":
    """Paint text in a colour with a faint outline of the opposite brightness, cropped to its ink.

    Args:
        text: one or more lines.
        color: `#RRGGBB`; the letters have exactly this colour.
        size_px: the font size, as far as the text fits: else it is shrunk to 12 px, then wrapped, then shrunk to 6 px.
        room_px: the greatest width and height.
    Returns:
        RGBA of at most that size.
    Raises:
        WatermarkError: if the font lacks a character, or the text does not fit even so.
    """
    lines = "\n".join(line.expandtabs(4).strip() for line in text.strip().splitlines())
    if missing := face.missing(lines.replace("\n", "")):
        raise WatermarkError(
            f"watermark text: the font '{face.path.name}' has no glyph for {' '.join(missing[:10])!r}. "
            "Leave it out, or name a font that has it."
        )
    for font, block in _attempts(lines, face, size_px, room_px[0]):
        left, top, right, bottom = _ink_box(block, font)
        if right - left <= room_px[0] and bottom - top <= room_px[1]:
            return _painted(block, font, color, (left, top, right, bottom))
    raise WatermarkError(
        f"watermark text of {len(text):,} characters does not fit in {room_px[0]}×{room_px[1]} px, even at "
        f"{SMALLEST_BLOCK_PX} px. Shorten it, or choose a smaller margin."
    )


def _attempts(lines: str, face: FontFace, size_px: int, width_px: int) -> Iterator[tuple["FreeTypeFont", str]]:
    for size in _sizes(size_px, SMALLEST_LINE_PX):
        yield face.at(size), lines
    for size in _sizes(min(size_px, SMALLEST_LINE_PX), SMALLEST_BLOCK_PX):
        font = face.at(size)
        yield font, "\n".join(_wrapped(lines, font, width_px - 2 * _outline_px(font)))


def _sizes(largest_px: int, smallest_px: int) -> Iterator[int]:
    size = largest_px
    while size > smallest_px:
        yield size
        size = min(int(size * _SHRINK), size - 1)
    yield min(largest_px, smallest_px)


def _wrapped(lines: str, font: "FreeTypeFont", width_px: int) -> Iterator[str]:
    for line in lines.split("\n"):
        current = ""
        for piece in _pieces(line, font, width_px):
            if current and font.getlength((current + piece).rstrip()) > width_px:
                yield current.rstrip()
                current = ""
            current += piece if current else piece.lstrip()
        yield current.rstrip()


def _pieces(line: str, font: "FreeTypeFont", width_px: int) -> Iterator[str]:
    """Cut a line where it may break; a word longer than the width may break anywhere."""
    for piece in _BREAKABLE.findall(line):
        yield from piece if font.getlength(piece) > width_px else [piece]


def _outline_px(font: "FreeTypeFont") -> int:
    return max(round(font.size * _OUTLINE_WIDTH), 1)


def _ink_box(block: str, font: "FreeTypeFont") -> tuple[int, int, int, int]:
    from PIL import Image, ImageDraw

    outline_px = _outline_px(font)
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = draw.multiline_textbbox(
        (0, 0), block, font, spacing=_spacing(font, outline_px), stroke_width=outline_px
    )
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def _painted(block: str, font: "FreeTypeFont", color: str, ink: tuple[int, int, int, int]) -> "Image":
    from PIL import Image, ImageColor

    red, green, blue = ImageColor.getrgb(color)[:3]
    opposite = "black" if 299 * red + 587 * green + 114 * blue > 127_500 else "white"
    outline = Image.new("RGBA", (ink[2] - ink[0], ink[3] - ink[1]), opposite)
    outline.putalpha(_shape(block, font, ink, _outline_px(font)).point(lambda alpha: round(alpha * _OUTLINE_OPACITY)))
    letters = Image.new("RGBA", outline.size, color)
    letters.putalpha(_shape(block, font, ink, 0))
    return Image.alpha_composite(outline, letters)


def _shape(block: str, font: "FreeTypeFont", ink: tuple[int, int, int, int], stroke_px: int) -> "Image":
    from PIL import Image, ImageDraw

    shape = Image.new("L", (ink[2] - ink[0], ink[3] - ink[1]))
    ImageDraw.Draw(shape).multiline_text(
        (-ink[0], -ink[1]), block, 255, font, spacing=_spacing(font, stroke_px), stroke_width=stroke_px
    )
    return shape


def _spacing(font: "FreeTypeFont", stroke_px: int) -> float:
    """Return the gap between lines that keeps them in place whatever the stroke, which Pillow adds twice."""
    return font.size * _LINE_GAP - 2 * stroke_px

"""A line or block of text as a picture with transparency, in a size that fits."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from models.shaping import Box, ShapedLine, ascent_px, shape_line
from models.watermark_files import FontFace, WatermarkError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.request import WatermarkParams

SMALLEST_LINE_PX = 12
"""A line that does not fit is shrunk to this size, then wrapped."""

SMALLEST_BLOCK_PX = 6
"""A wrapped block that does not fit is shrunk to this size, then refused."""

_SHRINK = 0.92
_LINE_GAP = 0.25
_OUTLINE_WIDTH, _OUTLINE_OPACITY = 1 / 40, 0.4
_HALO_WIDTH, _HALO_OPACITY = 1 / 5, 0.8
_JOINER = "\u200d"
_MEASURED_PX, _FINE_PX = 64, 256

# Chinese, Japanese and Korean may break at any character, everything else between words.
_BREAKABLE = re.compile(
    r"\s+|[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]+"
)

Size = tuple[int, int]


@dataclass(frozen=True)
class TextBlock:
    """Lines of text at the size at which they fit.

    `ink` is the box of the letters with their outline, px, right and down from where the first baseline begins.
    """

    lines: tuple[ShapedLine, ...]
    size_px: int
    ink: Box

    @property
    def outline_px(self) -> int:
        """The width of the outline."""
        return _outline_px(self.size_px)


@dataclass(frozen=True)
class TextMark:
    """A painted text, cropped to its ink (RGBA), and a halo that is wider by `halo_px` on every side (RGBA).

    The halo lies under it where the ground is such that it could not be read without.
    """

    picture: "Image"
    halo: "Image"
    halo_px: int


def mark_margin(params: "WatermarkParams", picture_px: Size) -> int:
    """How far from the edges of a picture a mark stays, px: at most a quarter of the shorter side."""
    return min(params.margin, min(picture_px) // 4)


def mark_room(params: "WatermarkParams", picture_px: Size) -> Size:
    """The greatest width and height of a mark on a picture of this size, px."""
    margin, tiled = mark_margin(params, picture_px), params.position == "tile"
    width, height = (max(side // 2 if tiled else side - 2 * margin, 1) for side in picture_px)
    return width, height


def fit_mark(params: "WatermarkParams", face: FontFace, picture_px: Size) -> TextBlock:
    """The text of a mark at the size that it has on such a picture. Raises WatermarkError as `fit_text`."""
    size_px = params.font_size or max(picture_px[0] // 20, 12)
    return fit_text(params.text, face, size_px, mark_room(params, picture_px))


@lru_cache(maxsize=256)
def fit_text(text: str, face: FontFace, size_px: int, room_px: Size) -> TextBlock:
    """Lay text out, shrunk and wrapped as far as that is needed.

    Args:
        text: one or more lines.
        size_px: the font size, as far as the text fits: else it is shrunk to 12 px, then wrapped, then shrunk to 6 px.
        room_px: the greatest width and height.
    Raises:
        WatermarkError: if the font has no glyph for something, nothing can be seen, or the text does not fit even so.
    """
    composed = unicodedata.normalize("NFC", text)
    lines = [line.expandtabs(4).strip() for line in composed.strip().splitlines()]
    _require_glyphs(lines, face)
    for size, block in _attempts(lines, face, size_px, room_px):
        shaped = tuple(shape_line(line, face, size) for line in block)
        ink = _ink(shaped, _line_step(face, size), _outline_px(size))
        if ink[2] - ink[0] <= room_px[0] and ink[3] - ink[1] <= room_px[1]:
            return TextBlock(shaped, size, ink)
    raise WatermarkError(
        f"watermark text of {len(text):,} characters does not fit in {room_px[0]}×{room_px[1]} px, even at "
        f"{SMALLEST_BLOCK_PX} px. Shorten it, or choose a smaller margin."
    )


def paint_text(block: TextBlock, color: str) -> TextMark:
    """Paint text in a colour, with a faint outline of the opposite brightness, and a halo of it for where it is needed.

    Args:
        color: `#RRGGBB`; the letters have exactly this colour.
    """
    import numpy as np
    from PIL import Image, ImageColor

    halo_px = max(round(block.size_px * _HALO_WIDTH), 3)
    letters = _letters(block, halo_px)
    away = _away(letters, max(block.size_px // _FINE_PX, 1))
    red, green, blue = ImageColor.getrgb(color)[:3]
    opposite = "black" if 299 * red + 587 * green + 114 * blue > 127_500 else "white"
    outline = _layer(opposite, np.clip(block.outline_px + 1 - away, 0, 1) * _OUTLINE_OPACITY)
    # Under the letters the ground stays as it is, so that they stay bright.
    around = 1 - np.asarray(letters) / 255
    halo = _layer(opposite, np.clip(1.5 - 1.5 * away / halo_px, 0, 1) * around * _HALO_OPACITY)
    inked = Image.new("RGBA", letters.size, color)
    inked.putalpha(letters)
    inner = (halo_px, halo_px, letters.width - halo_px, letters.height - halo_px)
    return TextMark(Image.alpha_composite(outline, inked).crop(inner), halo, halo_px)


def _require_glyphs(lines: list[str], face: FontFace) -> None:
    shaped = [shape_line(line, face, SMALLEST_LINE_PX) for line in lines]
    missing = list(dict.fromkeys(piece for line in shaped for piece in line.missing))
    if missing:
        raise WatermarkError(
            f"watermark text: the font '{face.path.name}' has no glyph for {' '.join(missing[:10])!r}. "
            "Leave it out, or name a font that has it."
        )
    if not any(line.ink for line in shaped):
        raise WatermarkError("watermark text: it has nothing that could be seen. Write something, or leave it out.")


def _attempts(lines: list[str], face: FontFace, size_px: int, room_px: Size) -> Iterator[tuple[int, list[str]]]:
    """Sizes and lines that may fit, the largest first; what surely does not is not laid out."""
    for size in _sizes(size_px, SMALLEST_LINE_PX):
        if _may_fit(lines, face, size, room_px):
            yield size, lines
    for size in _sizes(min(size_px, SMALLEST_LINE_PX), SMALLEST_BLOCK_PX):
        wrapped = list(_wrapped(lines, face, size, room_px[0] - 2 * _outline_px(size)))
        if _may_fit(wrapped, face, size, room_px):
            yield size, wrapped


def _may_fit(lines: list[str], face: FontFace, size_px: int, room_px: Size) -> bool:
    """Leaves a letter's size for what stands out of a line, or does not fill its place in it."""
    height_px = (len(lines) - 1) * _line_step(face, size_px)
    return height_px - size_px <= room_px[1] and all(
        _width_px(line, face) * size_px - size_px <= room_px[0] for line in lines
    )


@lru_cache(maxsize=4096)
def _width_px(text: str, face: FontFace) -> float:
    """The width of text at a size of 1 px; outlines scale, so that it tells those at all sizes."""
    return shape_line(text, face, _MEASURED_PX).width_px / _MEASURED_PX


def _sizes(largest_px: int, smallest_px: int) -> Iterator[int]:
    size = largest_px
    while size > smallest_px:
        yield size
        size = min(int(size * _SHRINK), size - 1)
    yield min(largest_px, smallest_px)


def _wrapped(lines: list[str], face: FontFace, size_px: int, width_px: int) -> Iterator[str]:
    for line in lines:
        current, used = "", 0.0
        for piece in _pieces(line, face, width_px / size_px):
            width = _width_px(piece, face)
            if current and (used + width) * size_px > width_px and not piece.isspace():
                yield current.rstrip()
                current, used = "", 0.0
            if current or not piece.isspace():
                current, used = current + piece, used + width
        yield current.rstrip()


def _pieces(line: str, face: FontFace, width: float) -> Iterator[str]:
    """Cut a line where it may break; a word that is wider than all of it may break between any letters."""
    for word in _BREAKABLE.findall(line):
        yield from _letters_of(word) if _width_px(word, face) > width else [word]


def _letters_of(word: str) -> list[str]:
    """Where a word that is wider than its line may break: not before a mark, nor where letters are joined."""
    letters: list[str] = []
    for letter in word:
        if letters and (unicodedata.category(letter)[0] == "M" or _JOINER in (letter, letters[-1][-1])):
            letters[-1] += letter
        else:
            letters.append(letter)
    return letters


def _outline_px(size_px: int) -> int:
    return max(round(size_px * _OUTLINE_WIDTH), 1)


def _line_step(face: FontFace, size_px: int) -> float:
    return ascent_px(face, size_px) + size_px * _LINE_GAP


def _ink(lines: tuple[ShapedLine, ...], step_px: float, outline_px: int) -> Box:
    boxes = [(number, line.ink) for number, line in enumerate(lines)]
    moved = [(box[0], box[1] + round(n * step_px), box[2], box[3] + round(n * step_px)) for n, box in boxes if box]
    left, top, right, bottom = zip(*moved, strict=True)
    return min(left) - outline_px, min(top) - outline_px, max(right) + outline_px, max(bottom) + outline_px


def _letters(block: TextBlock, around_px: int) -> "Image":
    """The letters as a mask (L) of the size of the block's ink, and so much more on every side."""
    from PIL import Image, ImageChops

    left, top, right, bottom = block.ink
    shape = Image.new("L", (right - left + 2 * around_px, bottom - top + 2 * around_px))
    step_px = _line_step(block.lines[0].face, block.size_px)
    for number, line in enumerate(block.lines):
        mask, (x, y) = line.draw()
        place = (x - left + around_px, y + round(number * step_px) - top + around_px)
        layer = Image.new("L", shape.size)
        layer.paste(mask, place)
        shape = ImageChops.lighter(shape, layer)
    return shape


def _away(letters: "Image", step: int) -> "NDArray[np.float32]":
    """How far each pixel is from the nearest letter, px; of large letters, looked at in steps of some pixels."""
    import numpy as np
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    coarse = distance_transform_edt(np.asarray(letters.reduce(step)) < 128).astype(np.float32) * step
    fine = coarse if step == 1 else np.asarray(Image.fromarray(coarse).resize(letters.size, Image.Resampling.BILINEAR))
    return np.asarray(fine, np.float32)


def _layer(color: str, opacity: "NDArray[np.floating[Any]]") -> "Image":
    """A plain colour (RGBA) of this opacity, 0 to 1, shape (H, W)."""
    import numpy as np
    from PIL import Image

    layer = Image.new("RGBA", (opacity.shape[1], opacity.shape[0]), color)
    layer.putalpha(Image.fromarray(np.round(opacity * 255).astype(np.uint8)))
    return layer

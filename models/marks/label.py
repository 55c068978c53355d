"""The visible label of AI-made pictures (GB 45438-2025): readable, at a corner, above everything else."""

from pathlib import Path
from typing import TYPE_CHECKING

from models.encoding import rgb_picture
from models.request import WatermarkParams
from models.text_mark import fit_mark, mark_margin, paint_text
from models.watermark_files import find_font

if TYPE_CHECKING:
    from PIL.Image import Image

_SHARE = 0.05
"""The least height of a letter, of the picture's shortest side."""
_ROOM = 1.25
"""Size of the font over the height of its flattest letters, with some room: capitals are 0.73 of it, Chinese 0.9."""


def label_font_digest() -> str:
    """The SHA-256 of the font that labels are written in."""
    return find_font("", Path()).digest


def draw_label(image: "Image", text: str) -> "Image":
    """A copy of a picture (RGB) with the label at its lower right corner, on a dark ground.

    Raises:
        WatermarkError: if the font has no glyph for it, or the picture is too small to hold it.
    """
    from PIL import Image

    picture = rgb_picture(image).copy()
    shortest = min(picture.size)
    size_px = max(round(_SHARE * _ROOM / 0.73 * shortest), 8)
    params = WatermarkParams(enable=True, text=text, font_size=size_px, margin=max(size_px // 3, 1))
    mark = paint_text(fit_mark(params, find_font("", Path()), picture.size), "#FFFFFF").picture
    pad = max(size_px // 4, 1)
    ground = Image.new("RGBA", (mark.width + 2 * pad, mark.height + 2 * pad), (0, 0, 0, 150))
    ground.alpha_composite(mark, (pad, pad))
    margin = mark_margin(params, picture.size)
    place = (max(picture.width - ground.width - margin, 0), max(picture.height - ground.height - margin, 0))
    picture.paste(ground, place, ground)
    return picture

"""Contact sheets: many pictures on one, each with its label."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from models.watermark_files import find_font

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

MAX_SHEET_PIXELS = 100_000_000

_PAPER, _CELL, _INK = (247, 245, 241), (238, 235, 228), (70, 66, 58)
_LONGEST_LABEL = 200


def contact_sheet(
    pictures: Iterable[tuple[str, "Image"]], *, columns: int = 6, cell_px: int = 192, limit: int = 240
) -> "Image":
    """The first `limit` pictures in rows of `columns`, each fitted into a square of `cell_px` above its label.

    Pictures are read one at a time and none after the limit; they may be of any size and count.

    Returns:
        An RGB image; a blank one a single cell high if there are no pictures.
    Raises:
        ValueError: if the sheet would be larger than `MAX_SHEET_PIXELS`.
    """
    from PIL import Image

    gap, label_px = max(4, cell_px // 12), max(12, cell_px // 8)
    row_px = cell_px + label_px + gap
    width, rows = columns * (cell_px + gap) + gap, -(-limit // columns)
    if width * (rows * row_px + gap) > MAX_SHEET_PIXELS:
        raise ValueError(f"{rows} rows of {columns} cells of {cell_px} px: above {MAX_SHEET_PIXELS:,} pixels in all")
    strips = []
    cells = _cells(islice(pictures, limit), cell_px, label_px)
    while row := list(islice(cells, columns)):
        strip = Image.new("RGB", (width, row_px), _PAPER)
        for place, cell in enumerate(row):
            strip.paste(cell, (gap + place * (cell_px + gap), gap))
        strips.append(strip)
    sheet = Image.new("RGB", (width, max(1, len(strips)) * row_px + gap), _PAPER)
    for number, strip in enumerate(strips):
        sheet.paste(strip, (0, number * row_px))
    return sheet


def _cells(pictures: Iterable[tuple[str, "Image"]], cell_px: int, label_px: int) -> Iterator["Image"]:
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    face = find_font("", Path())
    font = ImageFont.truetype(face.path, max(9, round(label_px * 0.6)), face.index)
    for label, picture in pictures:
        cell = Image.new("RGB", (cell_px, cell_px + label_px), _PAPER)
        cell.paste(_CELL, (0, 0, cell_px, cell_px))
        fitted = ImageOps.contain(picture.convert("RGB"), (cell_px, cell_px))
        cell.paste(fitted, ((cell_px - fitted.width) // 2, (cell_px - fitted.height) // 2))
        text = _shortened(label, font, cell_px)
        ImageDraw.Draw(cell).text((0, cell_px + label_px // 2), text, font=font, fill=_INK, anchor="lm")
        yield cell


def _shortened(label: str, font: "FreeTypeFont", width_px: int) -> str:
    """The label on one line, cut with an ellipsis where it would be wider than its cell."""
    line = " ".join(label[:_LONGEST_LABEL].split())
    text = line
    while line and font.getlength(text) > width_px:
        line = line[:-1].rstrip()
        text = f"{line}…"
    return text

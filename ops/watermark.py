"""Text and image watermarks, and the step they add to a picture's recipe."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.digests import file_digest
from models.encoding import rgb_picture
from models.image import open_picture
from models.recipe import PostStep
from models.request import Position, WatermarkParams
from ops.text_mark import render_text
from ops.watermark_files import WatermarkError, find_font, find_logo, require_digest

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["WatermarkError", "draw_watermark", "watermark_step"]

_TEXT_FIELDS = ("type", "text", "font", "color", "font_size", "position", "transparency", "margin")
_IMAGE_FIELDS = ("type", "image_path", "scale", "position", "transparency", "margin")
_TILE_ANGLE = 30

Size = tuple[int, int]


def watermark_step(params: WatermarkParams, *, logo_folder: Path, fonts_folder: Path) -> PostStep:
    """Return the recipe's step for `draw_watermark`; its params are those of `WatermarkParams` that decide the mark.

    Raises:
        WatermarkError: if the font or logo is not in its folder.
    """
    if params.type == "image":
        return _step(params, _IMAGE_FIELDS, find_logo(params.image_path, logo_folder))
    return _step(params, _TEXT_FIELDS, find_font(params.font, fonts_folder).path)


def draw_watermark(image: "Image", params: WatermarkParams, *, logo_folder: Path, fonts_folder: Path) -> "Image":
    """Return an RGB copy of a picture with the mark drawn on it, or just the copy if the mark is not enabled.

    The mark always lies whole inside the picture, `margin` px (at most a quarter of the shorter side) from the edges,
    except for `tile`, which repeats it over the whole picture, text slanted.

    Raises:
        WatermarkError: if the font or logo is not in its folder, the font lacks a character, or the text does not fit.
        PictureError: if the logo cannot be decoded or is too large.
    """
    picture = rgb_picture(image).copy()
    if not params.enable:
        return picture
    margin = min(params.margin, min(picture.size) // 4)
    mark = _mark(params, picture.size, margin, logo_folder, fonts_folder)
    mark.putalpha(mark.getchannel("A").point(lambda alpha: round(alpha * params.transparency)))
    for corner in _corners(params.position, picture.size, mark.size, margin):
        picture.paste(mark, corner, mark)
    return picture


def _step(params: WatermarkParams, fields: tuple[str, ...], file: Path) -> PostStep:
    return PostStep(op="watermark", params=params.model_dump(include=set(fields)), uses=file_digest(file))


def _mark(params: WatermarkParams, size: Size, margin: int, logo_folder: Path, fonts_folder: Path) -> "Image":
    """Paint the mark alone: RGBA, no larger than its place in a picture of `size`."""
    tiled = params.position == "tile"
    width, height = (max(side // 2 if tiled else side - 2 * margin, 1) for side in size)
    if params.type == "image":
        logo = find_logo(params.image_path, logo_folder)
        wanted_px = max(round(size[0] * params.scale), 1)
        return _scaled_logo(logo, file_digest(logo), (min(wanted_px, width), height)).copy()
    face = find_font(params.font, fonts_folder)
    text = render_text(params.text, face, params.color, params.font_size or max(size[0] // 20, 12), (width, height))
    return _slanted(text) if tiled else text


def _slanted(text: "Image") -> "Image":
    from PIL.Image import Resampling

    return text.rotate(_TILE_ANGLE, Resampling.BICUBIC, expand=True)


@lru_cache(maxsize=16)
def _scaled_logo(logo: Path, digest: str, room: Size) -> "Image":
    from PIL.Image import Resampling

    opened = open_picture(logo).convert("RGBA")
    require_digest(logo, digest)
    factor = min(room[0] / opened.width, room[1] / opened.height)
    width, height = (max(round(side * factor), 1) for side in opened.size)
    return opened.resize((width, height), Resampling.LANCZOS)


def _corners(position: Position, picture: Size, mark: Size, margin: int) -> Iterator[tuple[int, int]]:
    """Yield where the mark's top left corner goes."""
    if position == "tile":
        yield from _bricks(picture, mark, margin)
        return
    left, top = margin, margin
    right, bottom = picture[0] - mark[0] - margin, picture[1] - mark[1] - margin
    middle = ((picture[0] - mark[0]) // 2, (picture[1] - mark[1]) // 2)
    places = {
        "top-left": (left, top),
        "top-right": (right, top),
        "bottom-left": (left, bottom),
        "bottom-right": (right, bottom),
        "center": middle,
    }
    yield places[position]


def _bricks(picture: Size, mark: Size, gap: int) -> Iterator[tuple[int, int]]:
    """Cover a picture like a wall: every other row starts half a step earlier."""
    step_x, step_y = mark[0] + gap, mark[1] + gap
    for row, top in enumerate(range(gap // 2, picture[1], step_y)):
        yield from ((left, top) for left in range(gap // 2 - row % 2 * step_x // 2, picture[0], step_x))

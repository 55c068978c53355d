"""Text and image watermarks, and the step they add to a picture's recipe."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.digests import file_digest
from models.encoding import rgb_picture
from models.image import open_picture
from models.recipe import INPUT_READING, PostStep
from models.request import Position, WatermarkParams
from models.shaping import shaping_identity
from models.text_mark import TextMark, fit_mark, mark_margin, mark_room, paint_text
from models.watermark_files import WatermarkError, find_font, find_logo
from ops.legibility import Ground, legibility_rule

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["WatermarkError", "draw_watermark", "recorded_params", "watermark_step"]

_TEXT_FIELDS = ("type", "text", "font", "color", "font_size", "position", "transparency", "margin")
_IMAGE_FIELDS = ("type", "image_path", "scale", "position", "transparency", "margin")
_TILE_ANGLE = 30

Size = tuple[int, int]


def watermark_step(params: WatermarkParams, *, logo_folder: Path, fonts_folder: Path) -> PostStep:
    """Return the recipe's step for `draw_watermark`.

    Its params are those of `WatermarkParams` that decide the mark, and, of a text, what shapes it here and when it gets
    a halo, of a logo, how pictures from outside are read.

    Raises:
        WatermarkError: if the font or logo is not in its folder.
    """
    if params.type == "image":
        step = _step(params, _IMAGE_FIELDS, file_digest(find_logo(params.image_path, logo_folder)))
        return step.model_copy(update={"params": {**step.params, "reading": INPUT_READING}})
    step = _step(params, _TEXT_FIELDS, find_font(params.font, fonts_folder).digest)
    return step.model_copy(update={"params": {**step.params, "shaping": shaping_identity(), "halo": legibility_rule()}})


def recorded_params(step: PostStep) -> WatermarkParams:
    """The mark that a recipe's step records."""
    known = {name: value for name, value in step.params.items() if name in WatermarkParams.model_fields}
    return WatermarkParams.model_validate({**known, "enable": True})


def draw_watermark(image: "Image", params: WatermarkParams, *, logo_folder: Path, fonts_folder: Path) -> "Image":
    """Return an RGB copy of a picture with the mark drawn on it, or just the copy if the mark is not enabled.

    The mark always lies whole inside the picture, `margin` px (at most a quarter of the shorter side) from the edges,
    except for `tile`, which repeats it over the whole picture, text slanted. Where a text's colour could not be read on
    what is under it, a halo lies between.

    Raises:
        WatermarkError: if the font or logo is not in its folder, the font lacks a glyph, or the text does not fit.
        PictureError: if the logo cannot be decoded or is too large.
    """
    picture = rgb_picture(image).copy()
    if not params.enable:
        return picture
    mark, halo, halo_px = _mark(params, picture.size, logo_folder, fonts_folder)
    ground = Ground(picture, params.color) if halo else None
    for left, top in _corners(params.position, picture.size, mark.size, mark_margin(params, picture.size)):
        if halo and ground and ground.is_hard_to_read((left, top, left + mark.width, top + mark.height)):
            picture.paste(halo, (left - halo_px, top - halo_px), halo)
        picture.paste(mark, (left, top), mark)
    return picture


def _step(params: WatermarkParams, fields: tuple[str, ...], digest: str) -> PostStep:
    return PostStep(op="watermark", params=params.model_dump(include=set(fields)), uses=digest)


def _mark(
    params: WatermarkParams, size: Size, logo_folder: Path, fonts_folder: Path
) -> tuple["Image", "Image | None", int]:
    """Paint the mark alone, no larger than its place in a picture of `size`, and the halo of a text.

    Returns:
        the mark and its halo, RGBA and as opaque as asked for, and by how many px the halo is wider on every side.
    """
    if params.type == "image":
        logo, room = find_logo(params.image_path, logo_folder), mark_room(params, size)
        wanted_px = max(round(size[0] * params.scale), 1)
        return _faded(_scaled_logo(logo, file_digest(logo), (min(wanted_px, room[0]), room[1])), params), None, 0
    text = paint_text(fit_mark(params, find_font(params.font, fonts_folder), size), params.color)
    if params.position == "tile":
        text = _slanted(text)
    return _faded(text.picture, params), _faded(text.halo, params), text.halo_px


def _faded(mark: "Image", params: WatermarkParams) -> "Image":
    faded = mark.copy()
    faded.putalpha(mark.getchannel("A").point(lambda alpha: round(alpha * params.transparency)))
    return faded


def _slanted(text: TextMark) -> TextMark:
    from PIL.Image import Resampling

    picture, halo = (layer.rotate(_TILE_ANGLE, Resampling.BICUBIC, expand=True) for layer in (text.picture, text.halo))
    return TextMark(picture, halo, (halo.width - picture.width) // 2)


@lru_cache(maxsize=16)
def _scaled_logo(logo: Path, digest: str, room: Size) -> "Image":
    from PIL.Image import Resampling

    opened = open_picture(logo).convert("RGBA")
    if file_digest(logo) != digest:
        raise WatermarkError(f"logo '{logo.name}' was replaced while it was read. Try again.")
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

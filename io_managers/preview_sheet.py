"""A contact sheet small enough for the metadata of a materialization, where the Dagster UI shows it."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.encoding import encode_picture

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TILES = 24
TILE_PX = 96
MAX_CHARS = 60_000
_COLUMNS = 6
_GAP_PX = 4
_TRIES = ((1, 75), (1, 60), (1, 45), (1, 30), (2, 60), (2, 30))


def make_tile(image: "Image") -> "Image":
    """A copy that fits in one tile of the sheet."""
    tile = image.convert("RGB").reduce(max(1, max(image.size) // (3 * TILE_PX)))
    tile.thumbnail((TILE_PX, TILE_PX))
    return tile


def contact_sheet_markdown(tiles: Sequence["Image"]) -> str:
    """Tiles in rows of six as one inline WebP picture: Markdown of at most `MAX_CHARS` characters; "" for no tiles."""
    if not tiles:
        return ""
    sheet = _paste(tiles[:MAX_TILES])
    for reduction, quality in _TRIES:
        text = f"![contact sheet](data:image/webp;base64,{_encode(sheet.reduce(reduction), quality)})"
        if len(text) <= MAX_CHARS:
            break
    return text


def _paste(tiles: Sequence["Image"]) -> "Image":
    from PIL import Image

    columns, cell = min(len(tiles), _COLUMNS), TILE_PX + _GAP_PX
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * cell + _GAP_PX, rows * cell + _GAP_PX), "white")
    for index, tile in enumerate(tiles):
        left, top = _GAP_PX + index % columns * cell, _GAP_PX + index // columns * cell
        sheet.paste(tile, (left + (TILE_PX - tile.width) // 2, top + (TILE_PX - tile.height) // 2))
    return sheet


def _encode(sheet: "Image", quality: int) -> str:
    return base64.b64encode(encode_picture(sheet, "webp", quality, None)).decode("ascii")

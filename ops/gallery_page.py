"""Publishing a catalog's gallery: the page and the contact sheet, from its image sets into the object store."""

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from foundation.map_ahead import map_ahead
from io_managers.image_set import MAX_STORED_PIXELS, ImageSet, ManifestRow, StoredPicture
from io_managers.preview_sheet import MAX_TILES, contact_sheet_markdown, make_tile
from models.encoding import encode_picture
from models.image import open_stored_picture
from ops.contact_sheet import contact_sheet
from ops.file_names import file_stems
from ops.gallery import GalleryPicture, write_gallery
from resources.object_store import ObjectNotFoundError, ObjectStore

if TYPE_CHECKING:
    from PIL.Image import Image

GALLERIES = "galleries/"
"""Galleries are below this prefix, one folder for each catalog."""
_UP = "../../"
"""From the page's folder to the root of the store."""
_UNITS_S = {"days": 24 * 3600, "hours": 3600, "minutes": 60, "seconds": 1}
_SHEET_PICTURES, _SHEET_COLUMNS, _SHEET_CELL_PX = 120, 10, 128


@dataclass(frozen=True)
class PublishedGallery:
    """Object keys of a gallery's page and of its contact sheet, what the page shows, and a small sheet as Markdown."""

    page: str
    contact_sheet: str
    rows: int
    pictures: int
    bytes: int
    preview: str


def gallery_key(catalog: str) -> str:
    """Object key of a catalog's gallery page."""
    return f"{GALLERIES}{catalog}/index.html"


def contact_sheet_key(catalog: str) -> str:
    """Object key of a catalog's contact sheet."""
    return f"{GALLERIES}{catalog}/contact_sheet.png"


def publish_gallery(
    finished: ImageSet,
    thumbnails: ImageSet,
    *,
    links_live_s: int,
    sheet_file: "Callable[[Image], bytes]" = partial(encode_picture, format="png", quality=100, recipe=None),
) -> PublishedGallery:
    """Write the page of a catalog's finished pictures, and a contact sheet of the first ones as PNG.

    In a local store the page links to the pictures beside it and can be moved with them; elsewhere the links are
    presigned, and the page says how long they live.

    Args:
        links_live_s: life of presigned links.
        sheet_file: makes the PNG file of the contact sheet.
    """
    catalog, store = finished.catalog, finished.store
    page, sheet = gallery_key(catalog), contact_sheet_key(catalog)
    is_local = urlparse(store.url(page)).scheme == "file"
    subtitle = time.strftime("made %Y-%m-%d %H:%M UTC", time.gmtime())
    if not is_local:
        subtitle += f". Links to full pictures work for {_life(links_live_s)} from then on."
    pictures = _pictures(finished, thumbnails, is_local=is_local)
    html = io.BytesIO()
    with io.TextIOWrapper(html, encoding="utf-8") as text:
        write_gallery(text, title=catalog, subtitle=subtitle, pictures=pictures)
        text.flush()
        stored = store.put(page, html.getvalue(), content_type="text/html; charset=utf-8")
    tiles: list[Image] = []
    labelled = _labelled(thumbnails, tiles)
    picture = contact_sheet(labelled, columns=_SHEET_COLUMNS, cell_px=_SHEET_CELL_PX, limit=_SHEET_PICTURES)
    store.put(sheet, sheet_file(picture), content_type="image/png")
    preview = contact_sheet_markdown(tiles)
    return PublishedGallery(page, sheet, len(finished.row_ids), len(finished), stored.size_bytes, preview)


def _life(seconds: int) -> str:
    """Seconds in the largest unit of which there are two, rounded down."""
    unit, length_s = next((item for item in _UNITS_S.items() if seconds >= 2 * item[1]), ("seconds", 1))
    return f"{seconds // length_s} {unit}"


def _pictures(finished: ImageSet, thumbnails: ImageSet, *, is_local: bool) -> Iterator[GalleryPicture]:
    store = finished.store
    rows = zip(finished.rows(), thumbnails.rows(), strict=True)

    names = file_stems(finished.row_ids)

    def url(row: ManifestRow) -> str:
        if not row.key:
            return ""
        if is_local:
            return _UP + row.key
        return store.url(row.key, download_as=f"{names[row.row_id]}.{row.format}")

    for (row, thumbnail), data in map_ahead(lambda pair: _file(store, pair[1]), rows):
        yield GalleryPicture(row, data, url(row), url(thumbnail))


def _file(store: ObjectStore, row: ManifestRow) -> bytes | None:
    """A thumbnail's file; None for a row without one."""
    try:
        return store.get(row.key) if row.key else None
    except ObjectNotFoundError:
        return None


def _labelled(thumbnails: ImageSet, tiles: "list[Image]") -> "Iterator[tuple[str, Image]]":
    for picture, data in map_ahead(StoredPicture.bytes, thumbnails):
        image = open_stored_picture(data, MAX_STORED_PIXELS)
        if len(tiles) < MAX_TILES:
            tiles.append(make_tile(image))
        yield picture.row.row_id, image

"""The gallery: one self-contained HTML page that shows a catalog's pictures."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TextIO

from io_managers.image_set import ManifestRow, Status
from models.encoding import content_type_of

THUMBNAIL_BUDGET_BYTES = 24 * 2**20
"""Thumbnails up to this many bytes in all travel inside the page; the ones after it are links."""

_ROWS_PER_CHUNK = 200


@dataclass(frozen=True, slots=True)
class GalleryPicture:
    """One row of a gallery.

    `thumbnail` is a picture file; `url` leads to the full picture and `thumbnail_url` to the thumbnail, absolute or
    relative to the page.
    """

    row: ManifestRow
    thumbnail: bytes | None = None
    url: str = ""
    thumbnail_url: str = ""


def write_gallery(
    target: TextIO,
    *,
    title: str,
    pictures: Iterable[GalleryPicture],
    subtitle: str = "",
    thumbnail_budget_bytes: int = THUMBNAIL_BUDGET_BYTES,
) -> None:
    """Write the page to `target` (UTF-8 or ASCII) while `pictures` are read; only a few are in memory at a time.

    `subtitle` follows the counts under the title. Whatever the texts hold is shown as text.
    """
    page = _template().replace("{{title}}", _escaped(title)).replace("{{subtitle}}", _escaped(subtitle))
    head, tail = page.split("{{rows}}")
    target.write(head)
    rows = _rows(pictures, thumbnail_budget_bytes)
    while chunk := list(islice(rows, _ROWS_PER_CHUNK)):
        target.write(f'<script type="application/json" class="rows">{_script_json(chunk)}</script>\n')
    target.write(tail)


def _rows(pictures: Iterable[GalleryPicture], budget_bytes: int) -> Iterator[list[str | int]]:
    """The values of each row in the order the page's script names them."""
    left = budget_bytes
    for one in pictures:
        thumbnail = one.thumbnail_url
        if one.thumbnail and len(one.thumbnail) <= left:
            left -= len(one.thumbnail)
            encoded = base64.b64encode(one.thumbnail).decode("ascii")
            thumbnail = f"data:{content_type_of(one.thumbnail)};base64,{encoded}"
        row = one.row
        what = (row.row_id, row.text, row.model, row.width_px, row.height_px, row.format, row.size_bytes)
        # What a step did for a row (passed, reused) matters to runs, not to who looks at pictures.
        status = Status.MADE if row.status.has_picture else row.status
        yield [*what, status, row.error, row.recipe, thumbnail, one.url]


def _script_json(value: object) -> str:
    """JSON in ASCII that cannot end the script element it stands in, nor open a comment there."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _escaped(text: str) -> str:
    """Text for HTML, with braces escaped so that it cannot name a place of the template."""
    escaped = html.escape(text).replace("{", "&#123;").replace("}", "&#125;")
    return escaped.encode("ascii", "xmlcharrefreplace").decode("ascii")


@cache
def _template() -> str:
    """The page with its content security policy: of all scripts and styles, only its own run."""
    page = files("ops").joinpath("gallery.html").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src * data: blob: file:; "
        f"style-src {_source(page, 'style')}; script-src {_source(page, 'script')}"
    )
    return page.replace("{{policy}}", policy)


def _source(page: str, tag: str) -> str:
    content = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[-1]
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode('ascii')}'"

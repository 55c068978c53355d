"""The gallery page as text; tests/end_to_end/test_gallery_browser.py opens it in a browser."""

import base64
import io
import json
import re
from collections.abc import Iterator

from io_managers.image_set import ManifestRow, Status
from ops.gallery import GalleryPicture, write_gallery
from tests.support.gallery_pictures import changed

THUMBNAIL = b"RIFF\x04\0\0\0WEBP"
INLINE = f"data:image/webp;base64,{base64.b64encode(THUMBNAIL).decode()}"
ROW = ManifestRow(
    row_id="tee-red",
    text="白色背景上的红色T恤",
    model="tiny",
    width_px=256,
    height_px=384,
    format="webp",
    size_bytes=5_120,
    status=Status.REUSED,
    recipe='{"seed":7}',
)
PICTURE = GalleryPicture(ROW, THUMBNAIL, "pictures/ab/abc.webp")


def page(*pictures: GalleryPicture, **options: object) -> str:
    target = io.StringIO()
    write_gallery(target, title="Spring", pictures=pictures, **options)  # type: ignore[arg-type]
    return target.getvalue()


def rows(text: str) -> list[list[object]]:
    scripts = re.findall(r'<script type="application/json" class="rows">(.*?)</script>', text, re.DOTALL)
    return [row for script in scripts for row in json.loads(script)]


def test_each_picture_becomes_a_row_of_the_page() -> None:
    assert rows(page(PICTURE)) == [
        [
            *("tee-red", "白色背景上的红色T恤", "tiny", 256, 384, "webp", 5_120, "made", "", '{"seed":7}'),
            *(INLINE, "pictures/ab/abc.webp"),
        ]
    ]


def test_thumbnails_beyond_the_budget_become_links() -> None:
    linked = changed(PICTURE, thumbnail_url="thumbnails/1.webp")
    given = rows(page(linked, linked, linked, PICTURE, thumbnail_budget_bytes=2 * len(THUMBNAIL)))
    assert [row[10] for row in given] == [INLINE, INLINE, "thumbnails/1.webp", ""]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = page(PICTURE)
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == []
    assert "@import" not in text
    assert "{{" not in text


def test_only_the_scripts_and_styles_of_the_page_may_run() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page())
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; base-uri 'none'; form-action 'none'; img-src \* data: blob: file:; "
        r"style-src 'sha256-[\w+/]{43}='; script-src 'sha256-[\w+/]{43}='",
        policy[1],
    )


def test_hostile_texts_stay_texts() -> None:
    evil = "</script><img src=x onerror=alert(1)><!--<script>{{rows}}"
    text = page(changed(PICTURE, text=evil, row_id=evil, error=evil, recipe=evil, url=evil))
    assert "<img src=x" not in text
    assert rows(text)[0][1] == evil
    target = io.StringIO()
    write_gallery(target, title=evil, subtitle=evil, pictures=[])
    assert "<img src=x" not in target.getvalue()
    assert rows(target.getvalue()) == []
    assert target.getvalue().count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") == 3


def test_texts_are_written_in_ascii_so_that_no_encoding_breaks_them() -> None:
    head = page(changed(PICTURE, text="帽子 \ud800"), subtitle="春 \udfff").split("<style>")[0]
    assert head.isascii()
    assert json.dumps(rows(page(changed(PICTURE, text="帽子 \ud800")))[0][1]) == '"\\u5e3d\\u5b50 \\ud800"'


def test_pictures_are_written_as_they_come() -> None:
    target = io.StringIO()
    sizes: list[int] = []

    def watched() -> Iterator[GalleryPicture]:
        for number in range(1_000):
            sizes.append(target.tell())
            yield changed(PICTURE, row_id=str(number))

    write_gallery(target, title="Spring", pictures=watched())
    assert len(set(sizes)) == 5
    assert [row[0] for row in rows(target.getvalue())] == [str(number) for number in range(1_000)]

import io
import json
import re

import pytest
from PIL import Image

from configs.settings import Settings
from io_managers.image_set import ManifestRow, Status, read_image_set
from io_managers.image_set_writer import ImageSetWriter
from ops.derivation import derive_images
from ops.gallery_page import gallery_key, publish_gallery
from ops.stages import thumbnailing
from resources.local_store import LocalObjectStore
from tests.support.stored_catalogs import new_picture, reuse_of, write_pictures


class PresigningStore(LocalObjectStore):
    """A store whose URLs look like those of an S3 service."""

    def url(self, key, expires_s=None, *, download_as=""):
        return f"https://s3.example/{key}?X-Amz-Signature=0"


def published(store, tmp_path, links_live_s=7 * 24 * 3600):
    broken = ManifestRow("broken", Status.FAILED, error="the mask is empty", text="a broken mug", model="tiny")
    write_pictures(store, "watermarked_images", "春装", [*(new_picture(str(n)) for n in range(3)), broken])
    finished = read_image_set(store, "watermarked_images", "春装")
    writer = ImageSetWriter(store, workers=2, queue=2)
    writer.write("thumbnails", derive_images(finished, thumbnailing(Settings(home=tmp_path)), reuse_of(store)))
    return publish_gallery(finished, read_image_set(store, "thumbnails", "春装"), links_live_s=links_live_s)


def rows_of(page):
    scripts = re.findall(r'<script type="application/json" class="rows">(.*?)</script>', page, re.DOTALL)
    return [row for script in scripts for row in json.loads(script)]


def test_the_page_shows_every_row_and_links_to_pictures_beside_it(tmp_path):
    store = LocalObjectStore(tmp_path / "store")

    facts = published(store, tmp_path)

    assert facts.page == gallery_key("春装") == "galleries/春装/index.html"
    assert (facts.rows, facts.pictures) == (4, 3)
    page = tmp_path / "store" / facts.page
    rows = rows_of(page.read_text(encoding="utf-8"))
    assert [row[0] for row in rows] == ["0", "1", "2", "broken"]
    assert all((page.parent / row[11]).resolve().is_file() for row in rows[:3])
    assert rows[3][7:9] == ["failed", "the mask is empty"]


@pytest.mark.parametrize(("links_live_s", "life"), [(604_800, "7 days"), (86_400, "24 hours"), (90, "90 seconds")])
def test_elsewhere_the_links_are_presigned_and_the_page_says_how_long_they_live(tmp_path, links_live_s, life):
    store = PresigningStore(tmp_path / "store")

    facts = published(store, tmp_path, links_live_s)

    page = store.get(facts.page).decode()
    assert f" UTC. Links to full pictures work for {life} from then on." in page
    assert rows_of(page)[0][11].startswith("https://s3.example/pictures/")


def test_the_contact_sheet_is_a_png_of_the_thumbnails(tmp_path):
    store = LocalObjectStore(tmp_path / "store")

    facts = published(store, tmp_path)

    assert Image.open(io.BytesIO(store.get(facts.contact_sheet))).format == "PNG"

"""The main job over a real S3 service: the same code, another store."""

import json
import re
import urllib.request

import pytest

from benchmarks.stand_in import StandInGPUEngine, run_main_job, write_stand_in_model
from configs.settings import load_settings
from imagegenx_cli.demo import gallery_file
from io_managers.image_set import read_image_set
from resources.open_store import open_store


@pytest.fixture(scope="module")
def home(tmp_path_factory, s3_server):
    """A home folder with a catalog, whose store is an S3 service."""
    home = tmp_path_factory.mktemp("home")
    (home / "catalogs").mkdir()
    rows = ["a,a red mug,64x64,,webp", "b,蓝色的杯子,128x64,春日小店,jpg", "c,a green mug,64x64,,png"]
    csv = "\n".join(["id,text,resolution,watermark_text,format", *rows])
    (home / "catalogs/spring.csv").write_text(csv, encoding="utf-8")
    settings = write_stand_in_model(home / "models") | {"IMAGEGENX_HOME": str(home), "DAGSTER_HOME": ""}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (settings | s3_server.own_bucket().environment()).items():
            patch.setenv(name, value)
        yield home


def statuses(asset):
    store = open_store(load_settings().store)
    return [str(row.status) for row in read_image_set(store, asset, "spring").rows()]


def test_a_catalog_is_made_once_and_then_reused(home):
    run_main_job("spring", StandInGPUEngine())
    first = statuses("generated_images"), statuses("watermarked_images"), statuses("thumbnails")
    run_main_job("spring", StandInGPUEngine())

    assert first == (["made"] * 3, ["made"] * 3, ["passed"] * 3)
    assert statuses("generated_images") == ["reused"] * 3
    assert not (home / "store").exists()


def test_the_gallery_links_to_pictures_that_open(home):
    settings = load_settings()

    page = gallery_file("spring", settings, open_store(settings.store))

    assert page == home / "galleries/spring/index.html"
    script = re.search(r'class="rows">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1]
    url = json.loads(script)[1][11]
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.read(2) == b"\xff\xd8"

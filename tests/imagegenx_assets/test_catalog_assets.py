import base64
import io
import re
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model
from io_managers.image_set import read_image_set
from io_managers.image_set_writer import NoPictureError
from ops.catalog import CatalogError
from resources.local_store import LocalObjectStore

CSV = (
    "id,text,resolution,watermark_text,format\n"
    "a,a red mug,64x64,,webp\n"
    "b,蓝色的杯子,128x64,春日小店,jpg\n"
    "c,a green mug,64x64,,png\n"
)


class Shop:
    """A home folder with a catalog, and Dagster over it."""

    def __init__(self, home: Path, instance):
        self.home, self.instance = home, instance
        self.store = LocalObjectStore(home / "store")
        (home / "catalogs").mkdir(parents=True)
        instance.add_dynamic_partitions("catalogs", ["shop"])

    def write(self, csv):
        (self.home / "catalogs/shop.csv").write_text(csv, encoding="utf-8")

    def run(self):
        from imagegenx_assets.catalog_assets import ASSETS
        from imagegenx_assets.definitions import RESOURCES

        return dg.materialize(
            ASSETS,
            resources={**RESOURCES, "gpu_engine": StandInGPUEngine()},
            partition_key="shop",
            instance=self.instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def metadata(self, asset):
        (event,) = self.instance.fetch_materializations(dg.AssetKey(asset), limit=1).records
        assert event.partition_key == "shop"
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def materialized(self):
        return {
            key.to_user_string()
            for key in self.instance.all_asset_keys()
            if self.instance.get_latest_materialization_event(key)
        }


@pytest.fixture
def shop(tmp_path, monkeypatch):
    for name, value in write_stand_in_model(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        shop = Shop(tmp_path / "home", instance)
        shop.write(CSV)
        yield shop


def test_a_catalog_becomes_pictures_thumbnails_and_a_gallery(shop):
    assert shop.run().success

    finished = read_image_set(shop.store, "watermarked_images", "shop")
    assert finished.table[["row_id", "status", "format"]].to_numpy().tolist() == [
        ["a", "passed", "webp"],
        ["b", "made", "jpg"],
        ["c", "passed", "png"],
    ]
    assert [picture.image().size for picture in finished] == [(64, 64), (128, 64), (64, 64)]
    assert len(read_image_set(shop.store, "thumbnails", "shop")) == 3
    assert shop.store.stat("galleries/shop/index.html")


def test_every_materialization_tells_where_it_is_and_what_it_did(shop):
    shop.run()

    generated = shop.metadata("generated_images")
    assert generated["manifest"] == "manifests/generated_images/shop.parquet"
    assert [generated[name] for name in ("made", "reused", "passed", "failed")] == [3, 0, 0, 0]
    assert generated["dagster/row_count"] == 3
    assert {"making_s", "wall_s"} <= set(generated)
    assert list(generated["model_releases"]) == ["stand-in"]
    assert generated["bytes"] == sum(one.size_bytes for one in list_generated(shop))
    assert [shop.metadata("watermarked_images")[name] for name in ("made", "passed")] == [1, 2]
    assert shop.metadata("prompt_catalog")["table"] == "tables/prompt_catalog/shop.parquet"
    assert shop.metadata("gallery")["page"] == "galleries/shop/index.html"


def list_generated(shop):
    return read_image_set(shop.store, "generated_images", "shop").rows()


@pytest.mark.parametrize("asset", ["generated_images", "upscaled_images", "watermarked_images", "thumbnails"])
def test_every_image_set_shows_a_contact_sheet_of_at_most_60_kb(shop, asset):
    shop.run()

    sheet = shop.metadata(asset)["contact_sheet"]

    assert len(sheet) <= 60_000
    data = re.fullmatch(r"!\[contact sheet\]\(data:image/webp;base64,(.*)\)", sheet)[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (3 * 100 + 4, 104)


def test_an_unchanged_catalog_makes_nothing_and_two_edited_rows_make_two(shop):
    shop.run()

    shop.run()
    unchanged = shop.metadata("generated_images")
    shop.write(CSV.replace("red", "pink").replace("green", "grey"))
    shop.run()
    edited = shop.metadata("generated_images")

    assert (unchanged["made"], unchanged["reused"]) == (0, 3)
    assert (edited["made"], edited["reused"]) == (2, 1)
    assert shop.metadata("watermarked_images")["made"] == 0


def test_a_catalog_with_problems_lists_them_all_and_materializes_nothing(shop):
    shop.write("id,text,resolution,steps\na,a mug,511x512,20\nb,,64x64,500\na,a mug,64x64,20\n")

    with pytest.raises(CatalogError) as caught:
        shop.run()

    text = str(caught.value)
    assert "511" in text
    assert "500 is above the maximum of 200" in text
    assert "already the id of" in text
    assert shop.materialized() == set()
    assert {found.key.partition("/")[0] for found in shop.store.list()} == {"inputs", "registry"}


def test_a_failed_row_is_counted_and_shown_while_the_others_go_on(shop):
    shop.write(CSV + "d,a lost mug,64x64,,webp\n")
    shop.run()
    shop.write(CSV.replace("春日小店", "lost.png").replace("watermark_text", "watermark_image"))

    assert shop.run().success

    marked = shop.metadata("watermarked_images")
    assert (marked["failed"], marked["passed"]) == (1, 2)
    (failure,) = (record.data for record in marked["failures"].records)
    assert (failure["row"], failure["error"][:16]) == ("b", "logo 'lost.png':")
    assert [row.status for row in read_image_set(shop.store, "thumbnails", "shop").rows()] == [
        "reused",
        "failed",
        "reused",
    ]


def test_if_every_row_fails_the_asset_fails(shop):
    shop.write("id,text,watermark_image\na,a mug,lost.png\nb,a cup,lost.png\n")

    with pytest.raises(NoPictureError, match="all 2 rows of catalog 'shop' failed in watermarked_images"):
        shop.run()

    assert "upscaled_images" in shop.materialized()
    assert "watermarked_images" not in shop.materialized()

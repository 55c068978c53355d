import base64
import io
import json
import logging
import re
import time
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model
from configs.settings import load_settings
from imagegenx_assets.catalog_step import began_s
from io_managers import outages
from io_managers.image_set import read_image_set
from io_managers.image_set_io_manager import ImageSetIOManager
from io_managers.image_set_writer import NoPictureError
from models.registry import open_registry
from ops.catalog.home_folder import open_catalogs
from ops.catalog.problems import CatalogError
from ops.chosen_rows import UnknownRowsError
from ops.editions import RowChange, request_changes, wanted_edition
from ops.review.catalog_view import COLUMNS, CatalogViews
from ops.review.verdicts import CatalogVerdicts
from ops.serving import ServingWorker, WorkerDependencies
from resources.dagster_names import PROCESS_TAG
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from resources.object_store_resource import ObjectStoreResource
from resources.queue import open_queue
from tests.support.stand_in_worker import SubmittingEngine

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

    def run(self, *assets, resources=(), tags=None, raise_on_error=True, **config):
        from imagegenx_assets.catalog_assets import ASSETS
        from imagegenx_assets.definitions import RESOURCES

        ops = {"generated_images": {"config": config}} if config else {}
        return dg.materialize(
            ASSETS,
            selection=assets or None,
            resources={**RESOURCES, "gpu_engine": StandInGPUEngine(), **dict(resources)},
            partition_key="shop",
            instance=self.instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, "ops": ops},
            tags=tags,
            raise_on_error=raise_on_error,
        )

    def seeds(self, asset="generated_images"):
        return {row.row_id: row.seed for row in read_image_set(self.store, asset, "shop").rows()}

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
    monkeypatch.setenv("IMAGEGENX_PICTURES__THUMBNAIL_PX", "32")
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        shop = Shop(tmp_path / "home", instance)
        shop.write(CSV)
        yield shop


def test_a_catalog_becomes_pictures_thumbnails_and_a_gallery(shop):
    assert shop.run().success

    finished = read_image_set(shop.store, "watermarked_images", "shop")
    assert [(row.row_id, row.status, row.format) for row in finished.rows()] == [
        ("a", "made", "webp"),
        ("b", "made", "jpg"),
        ("c", "made", "png"),
    ]
    assert [picture.image().size for picture in finished] == [(64, 64), (128, 64), (64, 64)]
    assert len(read_image_set(shop.store, "thumbnails", "shop")) == 3
    assert shop.store.stat("galleries/shop/index.html")


def test_every_materialization_tells_where_it_is_and_what_it_did(shop):
    shop.run()

    generated = shop.metadata("generated_images")
    assert generated["manifest"] == "manifests/generated_images/shop.parquet"
    assert [generated[name] for name in ("made", "reused", "passed", "failed")] == [3, 0, 0, 0]
    assert generated["dagster/uri"] == (shop.home / "store" / generated["manifest"]).as_uri()
    assert generated["dagster/partition_row_count"] == 3
    assert ("row_id", "string") in [(one.name, one.type) for one in generated["dagster/column_schema"].columns]
    texts = [record.data["text"] for record in generated["preview"].records]
    assert texts == ["a red mug", "蓝色的杯子", "a green mug"]
    assert {"making_s", "wall_s"} <= set(generated)
    assert list(generated["model_releases"]) == ["stand-in"]
    assert generated["bytes"] == sum(one.size_bytes for one in list_generated(shop))
    assert [shop.metadata("watermarked_images")[name] for name in ("made", "passed")] == [3, 0]
    catalog, gallery = shop.metadata("prompt_catalog"), shop.metadata("gallery")
    assert catalog["table"] == "tables/prompt_catalog/shop.parquet"
    assert (catalog["dagster/partition_row_count"], len(catalog["preview"].records)) == (3, 3)
    assert [one.name for one in catalog["dagster/column_schema"].columns][:2] == ["id", "text"]
    assert gallery["page"] == "galleries/shop/index.html"
    assert gallery["gallery"] == str(shop.home / "store/galleries/shop/index.html")
    assert (gallery["dagster/partition_row_count"], gallery["pictures"]) == (3, 3)


def list_generated(shop):
    return read_image_set(shop.store, "generated_images", "shop").rows()


@pytest.mark.parametrize(
    "asset", ["generated_images", "upscaled_images", "watermarked_images", "thumbnails", "gallery"]
)
def test_every_image_set_and_the_gallery_show_a_contact_sheet_of_at_most_60_kb(shop, asset):
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
    assert shop.metadata("watermarked_images")["made"] == 2


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
    assert (marked["failed"], marked["reused"]) == (1, 2)
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


def test_each_asset_has_its_own_step_and_no_step_complains(shop):
    result = shop.run()

    steps = [event.step_key for event in result.all_events if event.is_step_success]
    assert steps == [
        "prompt_catalog",
        "generated_images",
        "upscaled_images",
        "watermarked_images",
        "thumbnails",
        "gallery",
    ]
    said = [entry.user_message for entry in shop.instance.all_logs(result.run_id)]
    assert [line for line in said if "expected outputs" in line] == []


def test_an_asset_can_be_made_by_itself_from_what_is_stored(shop):
    shop.run()

    result = shop.run("thumbnails", "gallery")

    assert [event.step_key for event in result.all_events if event.is_step_success] == ["thumbnails", "gallery"]


def test_an_asset_whose_upstream_was_never_made_fails_with_what_is_missing(shop):
    result = shop.run("thumbnails", raise_on_error=False)

    (failure,) = result.get_step_failure_events()
    assert "manifests/watermarked_images/shop.parquet" in failure.step_failure_data.error.cause.message


def test_a_run_may_be_for_some_rows_and_the_others_stay_as_they_were(shop):
    shop.write(CSV.replace("a red mug", "an old mug"))
    shop.run("prompt_catalog")
    shop.run("generated_images", rows=["a"])
    first = {
        row.row_id: (row.status, row.text) for row in read_image_set(shop.store, "generated_images", "shop").rows()
    }
    shop.write(CSV)
    shop.run("prompt_catalog")
    shop.run("generated_images", rows=["b", "c"])
    then = {row.row_id: (row.status, row.text) for row in list_generated(shop)}

    assert first["a"] == ("made", "an old mug")
    assert [first[row][0] for row in "bc"] == ["failed", "failed"]
    assert then == {
        "a": ("reused", "an old mug"),
        "b": ("made", "蓝色的杯子"),
        "c": ("made", "a green mug"),
    }


def test_a_run_for_rows_that_are_not_there_says_which_are(shop):
    with pytest.raises(UnknownRowsError) as caught:
        shop.run(rows=["a", "z"])

    assert str(caught.value) == "rows: the catalog has no row 'z'. Its rows are 'a', 'b', 'c', …"


def test_forced_pictures_are_painted_again(shop):
    shop.run()
    shop.run(force=True)

    assert shop.metadata("generated_images")["made"] == 3
    assert shop.metadata("thumbnails")["made"] == 0

    shop.run(force=True, rows=["b"])
    assert [shop.metadata("generated_images")[name] for name in ("made", "reused")] == [1, 2]


def test_forced_pictures_are_painted_again_by_workers(shop, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_ENGINE__FLEET", "true")
    settings = load_settings()
    painter, queue, registry = Painter(), open_queue(settings), open_registry(settings)
    worker = ServingWorker(
        WorkerDependencies(settings, registry, painter, shop.store, queue, warm_up=lambda registry: None)
    )
    worker.start()
    try:
        shop.run()
        shop.run("generated_images", force=True)
        forced = shop.metadata("generated_images")
        shop.run("generated_images")
    finally:
        worker.stop(0.0)
        worker.wait(60)
        queue.close()

    assert (forced["made"], forced["reused"]) == (3, 0)
    assert shop.metadata("generated_images")["reused"] == 3
    assert len(painter.painted) == 6


class Painter(SubmittingEngine):
    """Keeps in mind what it painted."""

    def __init__(self):
        super().__init__()
        self.painted = []

    def submit(self, job, listener, priority):
        self.painted.append(job.id)
        return super().submit(job, listener, priority)


def test_what_a_forced_run_has_made_is_kept_when_dagster_starts_it_again(shop):
    first = shop.instance.get_run_by_id(shop.run().run_id)
    after = {"job_name": first.job_name, "parent_run_id": first.run_id, "root_run_id": first.run_id}
    retried = dg.DagsterRun(**after, tags={"dagster/retry_number": "1"})
    by_hand = dg.DagsterRun(**after)
    shop.instance.add_run(by_hand)

    began = shop.instance.get_run_record_by_id(first.run_id).start_time
    assert began_s(shop.instance, first) == began_s(shop.instance, retried) == began
    assert began_s(shop.instance, by_hand) != began


def test_rows_get_new_seeds_for_good(shop):
    shop.run()
    before = shop.seeds()

    shop.run(reseed=True, rows=["b"])
    after = shop.seeds()
    shop.run()

    assert {row for row in before if before[row] != after[row]} == {"b"}
    assert shop.seeds() == after
    assert shop.metadata("generated_images")["made"] == 0
    assert shop.metadata("generated_images")["edition"] == 0


def test_a_catalog_gets_new_seeds_as_an_edition(shop):
    shop.run()
    before = shop.seeds()

    shop.run(reseed=True)

    assert all(before[row] != seed for row, seed in shop.seeds().items())
    assert shop.metadata("generated_images")["edition"] == 1


def again(shop, **rows):
    """Ask for these changes and make them; the number of pictures that it took, and the edition."""
    request_changes(shop.store, "shop", rows, f"wish-{len(wanted_edition(shop.store, 'shop').changes)}")
    shop.run()
    told = shop.metadata("generated_images")
    return told["made"], told["edition"]


def test_an_edited_prompt_makes_one_picture_and_going_back_makes_none(shop):
    shop.run()
    first = CatalogViews(shop.store).get("shop").rows
    assert again(shop, a=RowChange(text="a blue mug", shown="a red mug")) == (1, 1)
    assert [row.text for row in CatalogViews(shop.store).get("shop").rows] == [
        "a blue mug",
        "蓝色的杯子",
        "a green mug",
    ]
    shop.run(reseed=True)
    assert shop.metadata("generated_images")["made"] == 3
    views = CatalogViews(shop.store)
    assert [of.partition("-")[0] for of, _ in views.versions("shop")] == ["now", "edition", "at"]
    replaced = views.get("shop", list(views.versions("shop"))[-1][0])
    assert [row.recipe for row in replaced.rows] == [row.recipe for row in first]

    shown = {row.row_id: row.text for row in views.get("shop").rows}
    back = {row.row_id: RowChange(seed=row.seed, text=row.text, shown=shown[row.row_id]) for row in replaced.rows}

    assert again(shop, **back) == (0, 3)
    assert [row.recipe for row in CatalogViews(shop.store).get("shop").rows] == [row.recipe for row in first]


def test_dagster_shows_whose_a_catalog_is_and_when_it_is_due_and_the_first_look_judges(shop):
    catalogs = open_catalogs(load_settings(), shop.store)
    catalogs.register(shop.home / "catalogs/shop.csv", open_registry(load_settings()))
    given = {"review": "flagged", "owner": "ann", "cron": "0 6 * * *", "freshness_hours": "24"}
    catalogs.give("shop", given, open_registry(load_settings()))
    shop.run()
    told = shop.metadata("gallery")
    assert (told["owner"], told["schedule"], told["published"]) == ("ann", "0 6 * * * UTC, changed", "once approved")
    assert time.time() < told["next_due"] < time.time() + 86_500
    assert time.time() < told["stale_from"] < time.time() + 86_500
    (row, *_) = CatalogViews(shop.store).get("shop").table()
    assert row[COLUMNS.index("scores")]["contrast"] >= 0
    assert {one.by for one in CatalogVerdicts(shop.store, "shop").all()} <= {"first look"}


class Away(LocalObjectStore):
    """A store that cannot be reached when its first manifest is written."""

    refusals = 1

    def put(self, key, data, *, content_type):
        if key.startswith("manifests/") and self.refusals:
            self.refusals -= 1
            raise StoreUnavailableError("the store is down")
        return super().put(key, data, content_type=content_type)


class AwayResource(ObjectStoreResource):
    root: str

    @property
    def store(self):
        return STORES.setdefault(self.root, Away(Path(self.root)))


STORES = {}


@pytest.fixture
def away(shop, monkeypatch):
    """Resources with that store."""
    from imagegenx_assets.definitions import RESOURCES

    monkeypatch.setattr(outages, "FIRST_WAIT_S", 0.01)
    settings = RESOURCES["settings"]
    store = AwayResource(settings=settings, root=str(shop.home / "store"))
    return {"object_store": store, "image_sets": ImageSetIOManager(object_store=store, settings=settings)}


def test_a_step_is_tried_again_after_an_outage_and_makes_nothing_twice(shop, away):
    result = shop.run(resources=away)

    assert result.success
    (again,) = [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert again.step_key == "generated_images"
    assert "the store is down" in str(again.step_retry_data.error.cause)
    assert [shop.metadata("generated_images")[name] for name in ("made", "reused")] == [0, 3]


def test_a_person_who_waits_for_the_run_is_told_of_an_outage_at_once(shop, away):
    with pytest.raises(StoreUnavailableError, match="the store is down"):
        shop.run(resources=away, tags={PROCESS_TAG: "host:1:2"})


def test_a_catalog_that_is_wrong_is_not_tried_again(shop):
    shop.write("id,text,steps\na,a mug,5000\n")

    result = shop.run(raise_on_error=False)

    assert not [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]


def test_dagster_keeps_the_first_of_many_problems_and_their_count(shop):
    rows = "".join(f"r{n},a mug,{5000 + n}\n" for n in range(1000))
    shop.write(f"id,text,steps\n{rows}")

    with pytest.raises(CatalogError) as caught:
        shop.run()

    lines = str(caught.value).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (52, "catalog 'shop': 1,000 problems", "  … and 950 more")


def test_log_lines_carry_the_catalog_they_are_about(shop, monkeypatch, capfd):
    monkeypatch.setenv("IMAGEGENX_LOGS__FORMAT", "json")
    shop.run()
    logging.getLogger("ops").warning("looked")

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["partition"] for line in lines if line["message"] == "looked"] == ["shop"]


def test_a_run_says_in_its_log_how_far_it_is(shop):
    from imagegenx_assets.definitions import RESOURCES

    often = ImageSetIOManager(
        object_store=RESOURCES["object_store"], settings=RESOURCES["settings"], progress_every_s=0.05
    )
    slow = StandInGPUEngine(picture_s=0.5)
    result = shop.run("prompt_catalog", "generated_images", resources={"image_sets": often, "gpu_engine": slow})

    said = [entry.user_message for entry in shop.instance.all_logs(result.run_id)]
    assert "generated_images: 0 of 3 made, 3 waiting; none finished in the last minute." in said

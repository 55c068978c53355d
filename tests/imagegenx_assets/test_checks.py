"""The checks of a catalog's assets, in runs of the main job."""

import json
from pathlib import Path

import dagster as dg
import pytest

from benchmarks.stand_in import StandInEngine, StandInGPUEngine, write_stand_in_model
from configs.settings import load_settings
from imagegenx_assets.catalog_step import CheckFailedError
from io_managers.image_set import read_image_set
from models.engine import Engine
from models.image import GeneratedImage
from ops.quarantine import Quarantine
from resources.audit import open_audit
from resources.dagster_names import STAGES
from resources.local_store import LocalObjectStore

CSV = "id,text,resolution,watermark_text\na,a red mug,64x64,春日小店\nb,a gun,64x64,\nc,a hat,64x64,\n"


class Shop:
    """A home folder with a catalog, and Dagster over it."""

    def __init__(self, home: Path, instance):
        self.home, self.instance = home, instance
        self.store = LocalObjectStore(home / "store")
        (home / "catalogs").mkdir(parents=True)
        instance.add_dynamic_partitions("catalogs", ["shop"])
        (home / "catalogs/shop.csv").write_text(CSV, encoding="utf-8")

    def run(self, engine=None, **options):
        from imagegenx_assets.catalog_assets import ASSETS
        from imagegenx_assets.definitions import RESOURCES

        return dg.materialize(
            ASSETS,
            resources={**RESOURCES, "gpu_engine": engine or StandInGPUEngine()},
            partition_key="shop",
            instance=self.instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            **options,
        )

    def result(self, asset):
        key = dg.AssetCheckKey(dg.AssetKey(asset), "quality")
        return self.instance.event_log_storage.get_asset_check_execution_history(key, limit=1)[0].evaluation

    def observed(self, asset):
        """What was observed of the catalog's asset, oldest first."""
        wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=["shop"])
        records = self.instance.fetch_observations(wanted, limit=9, ascending=True).records
        return [(one.asset_observation.metadata["verdict"].value, one.asset_observation) for one in records]

    def findings(self, asset):
        """What a check found: how much was checked, how much is wrong, and how serious that is, by finding."""
        rows = [record.data for record in self.result(asset).metadata["findings"].value.records]
        return {row["finding"]: (row["checked"], row["problems"], row["severity"]) for row in rows}

    def materialized(self, asset):
        return self.instance.get_latest_materialization_event(dg.AssetKey(asset)) is not None


@pytest.fixture
def shop(tmp_path, monkeypatch):
    for name, value in write_stand_in_model(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMAGEGENX_PICTURES__THUMBNAIL_PX", "32")
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield Shop(tmp_path / "home", instance)


class BlankEngine(StandInEngine):
    """Paints everything black, as a model does that computes NaN."""

    def generate(self, jobs, on_step=None):
        for outcome in super().generate(jobs, on_step):
            yield GeneratedImage(outcome.id, outcome.pixels * 0, outcome.recipe)


class BlankGPUEngine(StandInGPUEngine):
    @property
    def engine(self) -> Engine:
        return BlankEngine()


def test_every_check_passes_for_a_sound_catalog_and_says_what_it_looked_for(shop):
    shop.run()

    found = {asset: shop.findings(asset) for asset in STAGES}

    assert all(shop.result(asset).passed for asset in STAGES)
    assert found == {
        "prompt_catalog": {"rows unique": ("3", "0", "passed")},
        "generated_images": {
            "rows as asked": ("3", "0", "passed"),
            "files whole": ("3", "0", "passed"),
            "pictures differ": ("3", "0", "passed"),
            "moderated": ("0", "0", "passed"),
        },
        "upscaled_images": {
            "rows as asked": ("3", "0", "passed"),
            "files whole": ("0", "0", "passed"),
            "pictures differ": ("3", "0", "passed"),
        },
        "watermarked_images": {
            "rows as asked": ("3", "0", "passed"),
            "files whole": ("3", "0", "passed"),
            "marked": ("3", "0", "passed"),
            "watermarks shown": ("1", "0", "passed"),
        },
        "thumbnails": {
            "rows as asked": ("3", "0", "passed"),
            "files whole": ("3", "0", "passed"),
            "marked": ("3", "0", "passed"),
        },
        "gallery": {"published": ("2", "0", "passed"), "marked": ("1", "0", "passed"), "fresh": ("1", "0", "passed")},
    }


def test_what_checks_have_against_a_catalog_stays_on_its_page_until_they_pass(shop):
    shop.run()
    assert [shop.observed(asset) for asset in STAGES] == [[]] * len(STAGES)
    (shop.home / "catalogs/shop.csv").write_text(CSV.replace("a ", "one "), encoding="utf-8")
    with pytest.raises(CheckFailedError):
        shop.run(BlankGPUEngine())
    (shop.home / "catalogs/shop.csv").write_text(CSV, encoding="utf-8")
    for _ in range(2):
        shop.run()

    (blocked, found), (passed, _) = shop.observed("generated_images")
    assert (blocked, passed) == ("blocked", "passed")
    assert found.description.startswith("pictures differ: 3 of 3")
    assert found.metadata["rows"].value.records[0].data["row"] == "a"


def test_blank_pictures_go_no_further_and_the_check_says_which_rows_and_what_to_do(shop):
    with pytest.raises(
        CheckFailedError, match="check 'quality' of generated_images: pictures differ: 3 of 3: `row a is blank"
    ):
        shop.run(BlankGPUEngine())

    result = shop.result("generated_images")
    metadata = {name: value.value for name, value in result.metadata.items()}
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert shop.findings("generated_images")["pictures differ"] == ("3", "3", "ERROR")
    assert metadata["rows"].records[0].data == {
        "finding": "pictures differ",
        "row": "a",
        "problem": "is blank: its colours spread 0.0 of 255 levels",
    }
    assert "imagegenx models verify" in metadata["what to do"]
    assert shop.materialized("generated_images")
    assert not shop.materialized("upscaled_images")


def test_what_is_lost_from_the_store_is_made_again_and_checked_by_the_next_run(shop):
    shop.run()
    lost = next(read_image_set(shop.store, "generated_images", "shop").rows())
    shop.store.delete(lost.key)

    shop.run()

    assert shop.store.stat(lost.key)
    assert shop.findings("generated_images")["files whole"] == ("3", "0", "passed")


def test_a_file_that_lost_one_of_its_marks_is_not_published(shop):
    shop.run()
    row = next(read_image_set(shop.store, "watermarked_images", "shop").rows())
    unlabelled = shop.store.get(row.key).replace(b"TC260:AIGC", b"TC260:AIGX")
    shop.store.put(row.key, unlabelled, content_type="image/webp")
    shop.store.delete("galleries/shop/index.html")

    with pytest.raises(CheckFailedError, match="check 'quality' of watermarked_images"):
        shop.run()

    assert shop.findings("watermarked_images")["marked"] == ("3", "1", "ERROR")
    assert shop.store.stat("galleries/shop/index.html") is None


def followers(shop, cursor=None):
    """The assets that automation asks for now, and its cursor."""
    from imagegenx_assets.definitions import defs

    everything = dg.AssetSelection.groups("catalogs")
    result = dg.evaluate_automation_conditions(defs, shop.instance, everything, cursor=cursor)
    return {node.key for node in result.results if result.get_requested_partitions(node.key)}, result.cursor


def test_a_blocked_result_is_not_followed_by_automation_or_by_hand_until_it_is_made_again(shop):
    shop.run(selection=dg.AssetSelection.assets("prompt_catalog"))
    _, cursor = followers(shop)
    only = dg.AssetSelection.assets("generated_images")
    with pytest.raises(CheckFailedError, match="check 'quality' of generated_images: pictures differ: 3 of 3"):
        shop.run(BlankGPUEngine(), selection=only)

    asked, _ = followers(shop, cursor)
    assert {key.to_user_string() for key in asked} == {"upscaled_images", "watermarked_images", "thumbnails", "gallery"}
    with pytest.raises(CheckFailedError) as caught:
        shop.run(selection=dg.AssetSelection.assets(*asked))

    assert str(caught.value).startswith(
        "check 'quality' of generated_images, in an earlier run: pictures differ: 3 of 3"
    )
    assert str(caught.value).endswith("Materialize generated_images again.")
    assert not shop.materialized("upscaled_images")
    (shop.home / "catalogs/shop.csv").write_text(CSV.replace("a ", "one "), encoding="utf-8")
    assert shop.run(selection=dg.AssetSelection.assets("prompt_catalog") | only).success
    assert shop.run(selection=dg.AssetSelection.assets(*asked)).success


def test_a_warning_of_an_earlier_run_holds_nothing_back(shop):
    (shop.home / "catalogs/shop.csv").write_text(
        CSV.replace("春日小店", "lost.png").replace("watermark_text", "watermark_image"), encoding="utf-8"
    )
    shop.run()
    assert not shop.result("watermarked_images").passed

    assert shop.run(selection=dg.AssetSelection.assets("thumbnails")).success


def test_a_failed_row_warns_and_its_neighbours_go_on(shop):
    (shop.home / "catalogs/shop.csv").write_text(
        CSV.replace("春日小店", "lost.png").replace("watermark_text", "watermark_image"), encoding="utf-8"
    )

    assert shop.run().success

    result = shop.result("watermarked_images")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description.startswith("rows as asked: 1 of 3: `row a failed: logo 'lost.png'")


def test_rejected_rows_are_neither_painted_nor_published(shop, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "blocklist")
    monkeypatch.setenv("IMAGEGENX_CHECKS__BLOCKED_WORDS", '["gun"]')

    shop.run()
    shop.run()

    for asset in ("generated_images", "watermarked_images", "thumbnails"):
        rows = {row.row_id: row for row in read_image_set(shop.store, asset, "shop").rows()}
        assert (rows["b"].status, rows["b"].key) == ("rejected", "")
        assert rows["b"].error == "text: has the blocked word 'gun'"
        assert rows["a"].status == "reused"
    assert list(shop.store.list("quarantine/")) == []
    result = shop.result("generated_images")
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert shop.findings("generated_images")["moderated"] == ("3", "1", "WARN")
    first, _ = (one for one in open_audit(load_settings()).read() if one["event"] == "rows.rejected")
    assert (first["catalog"], first["rows"], first["of"]) == ("shop", 1, 3)


def test_a_rejected_picture_is_not_painted_again_and_a_moderator_judges_what_is_stored(shop, monkeypatch):
    shop.run()
    painted = []

    class Noting(StandInEngine):
        def generate(self, jobs, on_step=None):
            for outcome in super().generate(jobs, on_step):
                painted.append(outcome.id)
                yield outcome

    class NotingGPUEngine(StandInGPUEngine):
        @property
        def engine(self) -> Engine:
            return Noting()

    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "blocklist")
    monkeypatch.setenv("IMAGEGENX_CHECKS__BLOCKED_WORDS", '["gun"]')
    shop.run(NotingGPUEngine())
    first = {row.row_id: row.status for row in read_image_set(shop.store, "generated_images", "shop").rows()}
    shop.run(NotingGPUEngine())

    assert first == {"a": "reused", "b": "rejected", "c": "reused"}
    assert painted == []


def test_a_catalog_whose_pictures_are_all_rejected_is_published_without_them(shop, monkeypatch):
    (shop.home / "catalogs/shop.csv").write_text(
        "id,text,resolution,super_resolution,watermark_text\na,a gun,64x64,2x,mine\nb,two gun racks,64x64,,\n"
    )
    shop.run()
    published = shop.store.get("galleries/shop/index.html").decode()
    assert published.count("../../pictures/") == 2
    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "blocklist")
    monkeypatch.setenv("IMAGEGENX_CHECKS__BLOCKED_WORDS", '["gun"]')

    assert shop.run().success

    for asset in ("generated_images", "upscaled_images", "watermarked_images", "thumbnails"):
        rows = list(read_image_set(shop.store, asset, "shop").rows())
        assert [(row.status, row.key) for row in rows] == [("rejected", "")] * 2
    assert [one.key for one in shop.store.list("pictures/")] == []
    assert len([one for one in shop.store.list("quarantine/pictures/") if not one.key.endswith(".json")]) == 2
    page = shop.store.get("galleries/shop/index.html").decode()
    assert "has the blocked word" in page
    assert "../../pictures/" not in page
    assert shop.run().success


def test_what_was_made_of_a_rejected_picture_goes_and_its_neighbours_stay(shop, monkeypatch):
    (shop.home / "catalogs/shop.csv").write_text(CSV.replace("a gun,64x64,", "a gun,64x64,mine"), encoding="utf-8")
    shop.run()
    before = {row.row_id: row.key for row in read_image_set(shop.store, "watermarked_images", "shop").rows()}
    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "blocklist")
    monkeypatch.setenv("IMAGEGENX_CHECKS__BLOCKED_WORDS", '["gun"]')

    shop.run()

    assert {row_id for row_id, key in before.items() if shop.store.stat(key) is None} == {"b"}
    assert [one.key for one in shop.store.list("superseded/")] == []


def test_what_a_detector_rejects_comes_back_once_a_person_releases_it(shop, monkeypatch):
    def verdicts(asset):
        rows = read_image_set(shop.store, asset, "shop").rows()
        return {row.row_id: json.loads(row.verdict) for row in rows if row.status.has_picture}

    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "tests.support.own_detector:Colours")
    monkeypatch.setenv("IMAGEGENX_CHECKS__REJECT_ABOVE", '{"RED": 1.0}')
    shop.run()
    assert verdicts("thumbnails") == verdicts("generated_images")
    reds = {row: verdict["scores"]["RED"] for row, verdict in verdicts("generated_images").items()}
    second, first = sorted(reds.values())[-2:]
    monkeypatch.setenv("IMAGEGENX_CHECKS__REJECT_ABOVE", json.dumps({"RED": (first + second) / 2}))

    shop.run()

    assert {row for row in reds if reds[row] == second} <= verdicts("thumbnails").keys()
    assert reds.keys() - verdicts("thumbnails").keys() == {row for row in reds if reds[row] == first}
    assert shop.findings("generated_images")["moderated"] == ("3", "1", "WARN")
    (rejected,) = Quarantine(shop.store).all()
    assert rejected.scores["RED"] == pytest.approx(first, abs=0.01)  # now of the stored file
    assert shop.store.stat(rejected.key) is None

    Quarantine(shop.store).release(rejected, "ann", "it is a hat")
    shop.run()

    released = [verdict for verdict in verdicts("thumbnails").values() if "released_by" in verdict]
    assert [one["released_by"] for one in released] == ["ann"]
    assert verdicts("thumbnails").keys() == reds.keys()
    assert shop.findings("generated_images")["moderated"] == ("3", "0", "passed")

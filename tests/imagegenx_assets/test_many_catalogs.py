"""One run of many catalogs."""

import json
import logging
from dataclasses import replace
from threading import Thread

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model
from imagegenx_assets import catalog_assets
from imagegenx_assets.catalog_run import CatalogsFailedError, CheckFailedError, RunScope, run_catalogs
from imagegenx_assets.catalog_work import CatalogWork, StageCheck
from imagegenx_assets.checks import STAGE_CHECKS
from imagegenx_assets.definitions import RESOURCES
from ops.catalog import CatalogError, CatalogProblem
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError

NAMES = [f"c{number}" for number in range(5)]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ASSETS = ["prompt_catalog", "generated_images", "upscaled_images", "watermarked_images", "thumbnails", "gallery"]


class Shops:
    """A home folder with five catalogs, and Dagster over it."""

    def __init__(self, home, instance):
        self.home, self.instance = home, instance
        self.store = LocalObjectStore(home / "store")
        (home / "catalogs").mkdir(parents=True)
        instance.add_dynamic_partitions("catalogs", NAMES)
        for name in NAMES:
            self.write(name, f"id,text,resolution\na,a mug of {name},64x64\nb,a hat of {name},64x64\n")

    def write(self, name, text):
        (self.home / f"catalogs/{name}.csv").write_text(text, encoding="utf-8")

    def run(self, first="c0", last="c4", assets=None):
        return dg.materialize(
            catalog_assets.ASSETS,
            selection=assets,
            instance=self.instance,
            resources={**RESOURCES, "gpu_engine": StandInGPUEngine()},
            run_config=QUIET,
            raise_on_error=False,
            tags={ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last},
        )

    def made(self, asset="gallery"):
        return self.instance.get_materialized_partitions(dg.AssetKey(asset))

    def pictures(self):
        return {path: path.stat().st_mtime_ns for path in self.store.root.glob("pictures/*/*")}


@pytest.fixture
def shops(tmp_path, monkeypatch):
    for name, value in write_stand_in_model(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "home"))
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield Shops(tmp_path / "home", instance)


def reported(result):
    events = result.all_events
    return [(event.asset_key.path[-1], event.partition) for event in events if event.is_step_materialization]


def test_every_stage_of_every_catalog_is_reported_once_one_catalog_after_the_other(shops):
    result = shops.run()

    assert result.success
    assert reported(result) == [(asset, name) for name in NAMES for asset in ASSETS]
    assert all(shops.made(asset) == set(NAMES) for asset in ASSETS)


def test_every_check_counts_for_the_last_materialization_of_its_catalog(shops):
    for _ in range(2):
        assert shops.run().success

        for check in STAGE_CHECKS:
            infos = shops.instance.event_log_storage.get_asset_check_partition_info([check.spec.key])
            assert [info.partition_key for info in infos if info.is_current] == NAMES


def test_a_catalog_that_fails_holds_up_no_other_and_is_named(shops):
    shops.write("c2", "id,text,steps\na,a mug,5000\n")

    result = shops.run()

    assert not result.success
    assert shops.made() == {"c0", "c1", "c3", "c4"}
    (failure,) = result.get_step_failure_events()
    error = failure.step_failure_data.error.cause or failure.step_failure_data.error
    assert "CatalogsFailedError: 1 of 5 catalogs failed, the others are done. Run these again:" in error.message
    assert "  c2: catalog 'c2': 1 problem" in error.message


def test_after_a_failure_only_the_failed_catalog_is_left_to_make(shops):
    shops.write("c2", "id,text,steps\na,a mug,5000\n")
    shops.run()
    before = shops.pictures()
    shops.write("c2", "id,text,resolution\na,a mug,64x64\n")

    assert shops.run().success

    assert {path: shops.pictures()[path] for path in before} == before
    assert shops.made() == set(NAMES)
    assert len(shops.pictures()) == len(before) + 2  # a picture and its thumbnail


def test_log_lines_carry_the_catalog_they_are_about_whichever_thread_writes_them(shops, monkeypatch, capfd):
    evaluate = catalog_assets.STAGE_CHECKS[0].evaluate

    def logging_check(work):
        thread = Thread(target=lambda: logging.getLogger("ops").warning("looked at %s", work.catalog))
        thread.start()
        thread.join()
        return evaluate(work)

    monkeypatch.setenv("IMAGEGENX_LOGS__FORMAT", "json")
    check = replace(catalog_assets.STAGE_CHECKS[0], evaluate=logging_check)
    monkeypatch.setattr(catalog_assets, "STAGE_CHECKS", (check, *catalog_assets.STAGE_CHECKS[1:]))

    assert shops.run("c1", "c3").success
    logging.getLogger("ops").warning("done")

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    ours = [(line["message"], line.get("partition")) for line in lines if line["logger"] == "ops"]
    assert ours == [*((f"looked at {name}", name) for name in ("c1", "c2", "c3")), ("done", None)]


def test_an_asset_can_be_made_by_itself_from_what_is_stored(shops):
    shops.run()

    result = shops.run("c1", "c2", assets=["thumbnails", "gallery"])

    assert result.success
    assert reported(result) == [(asset, name) for name in ("c1", "c2") for asset in ("thumbnails", "gallery")]


def test_an_asset_whose_upstream_was_never_made_fails_with_what_is_missing(shops):
    result = shops.run("c1", "c1", assets=["thumbnails"])

    (failure,) = result.get_step_failure_events()
    error = failure.step_failure_data.error
    assert "manifests/watermarked_images/c1.parquet" in (error.cause or error).message


class Log:
    def error(self, *args, **kwargs):
        pass


def work(catalog):
    return CatalogWork(catalog, *[None] * 6)


def scope(make, *, check=None):
    stage = catalog_assets.stage(after=[], kinds={"test"})(make)
    checks = [check] if check else []
    return RunScope([stage], checks, {stage.spec.key}, {one.spec.key for one in checks})


def stock(work):
    """A stage that makes nothing."""
    return {"catalog": work.catalog}


def test_a_failed_blocking_check_ends_its_catalogs_way_after_being_reported():
    spec = dg.AssetCheckSpec("full", asset="stock", blocking=True)
    check = StageCheck(spec, lambda work: dg.AssetCheckResult(passed=work.catalog != "b", description="it is empty"))

    events = run_catalogs([work("a"), work("b"), work("c")], scope(stock, check=check), Log())
    seen = []
    with pytest.raises(CatalogsFailedError, match=r"1 of 3(.|\n)*  b: check 'full' of stock: it is empty"):
        seen.extend(events)

    evaluations = [event for event in seen if isinstance(event, dg.AssetCheckEvaluation)]
    assert [(event.partition, event.passed) for event in evaluations] == [("a", True), ("b", False), ("c", True)]


def test_a_warning_or_a_check_that_does_not_block_lets_a_catalog_go_on():
    for spec, severity in (
        (dg.AssetCheckSpec("full", asset="stock", blocking=True), dg.AssetCheckSeverity.WARN),
        (dg.AssetCheckSpec("full", asset="stock"), dg.AssetCheckSeverity.ERROR),
    ):
        check = StageCheck(spec, lambda work, severity=severity: dg.AssetCheckResult(passed=False, severity=severity))
        assert len(list(run_catalogs([work("a")], scope(stock, check=check), Log()))) == 2


def test_a_run_of_one_catalog_raises_what_went_wrong_itself():
    spec = dg.AssetCheckSpec("full", asset="stock", blocking=True)
    check = StageCheck(spec, lambda work: dg.AssetCheckResult(passed=False))

    with pytest.raises(CheckFailedError, match="check 'full' of stock: failed"):
        list(run_catalogs([work("a")], scope(stock, check=check), Log()))


def test_a_store_that_fails_ends_the_run_at_once():
    begun = []

    def stock(work):
        """A stage on a store that is down."""
        begun.append(work.catalog)
        raise StoreUnavailableError("the store is down")

    with pytest.raises(StoreUnavailableError):
        list(run_catalogs([work("a"), work("b")], scope(stock), Log()))
    assert begun == ["a"]


def test_dagster_keeps_the_first_of_many_problems_and_their_count():
    said = []

    class Listening(Log):
        def error(self, text, **options):
            said.append(text)

    def stock(work):
        """A stage on a catalog whose every row is wrong."""
        raise CatalogError(
            work.catalog, [CatalogProblem(f"line {n}", "steps", "x" * 500) for n in range(2, 1002)], 5000
        )

    with pytest.raises(CatalogError) as caught:
        list(run_catalogs([work("a")], scope(stock), Listening()))

    lines = str(caught.value).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (52, "catalog 'a': 5,000 problems", "  … and 4,950 more")
    assert len(said[0]) <= 600
    assert said[0].endswith("… and 1,001 more.")

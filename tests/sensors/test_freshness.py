import dagster as dg
import pytest

from configs.settings import load_settings
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.freshness import stale_catalogs_sensor
from tests.support.stored_catalogs import make_old


@pytest.fixture
def instance(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    monkeypatch.setenv("IMAGEGENX_CHECKS__FRESHNESS_HOURS", "24")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("catalogs", ["fresh", "stale"])
        yield instance


def made(catalog, days_ago=0.0):
    store = ObjectStoreResource(settings=SettingsResource()).store
    page = f"galleries/{catalog}/index.html"
    store.put(page, b"page", content_type="text/html")
    make_old(store, [page], days_ago)


def tick(instance, cursor=None):
    resources = {"settings": SettingsResource(), "object_store": ObjectStoreResource(settings=SettingsResource())}
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources) as context:
        return stale_catalogs_sensor(context)


def test_each_stale_catalog_fails_its_check_once(instance):
    made("fresh")
    made("stale", days_ago=1.1)
    made("retired", days_ago=9)

    first = tick(instance)
    observed, event = first.asset_events
    again = tick(instance, first.cursor)

    assert (observed.asset_key.to_user_string(), observed.partition) == ("gallery", "stale")
    assert observed.description == "has not been made for 24 h"
    assert (event.asset_key.to_user_string(), event.check_name, event.partition) == ("gallery", "quality", None)
    assert (event.passed, event.severity, event.description) == (
        False,
        dg.AssetCheckSeverity.WARN,
        "fresh: 1 of 2: `catalog stale has not been made for 24 h`",
    )
    assert list(again.asset_events) == []


def test_a_catalog_that_becomes_stale_again_is_reported_again(instance):
    made("stale", days_ago=2)
    first = tick(instance)
    made("stale")
    second = tick(instance, first.cursor)
    made("stale", days_ago=2)

    third = tick(instance, second.cursor)

    assert [len(one.asset_events) for one in (first, second, third)] == [2, 0, 2]


def test_a_run_that_grew_old_between_two_ticks_is_reported(instance):
    made("stale", days_ago=3)
    first = tick(instance)
    made("stale", days_ago=2)  # made again and stale again while nobody looked

    assert [len(one.asset_events) for one in (first, tick(instance, first.cursor))] == [2, 2]


def test_dagster_takes_every_report_of_a_catalog_that_becomes_stale_again(instance):
    cursor = None
    for days_ago in (2, 0, 2):
        made("stale", days_ago=days_ago)
        result = tick(instance, cursor)
        cursor = result.cursor
        for event in result.asset_events:
            instance.report_runless_asset_event(event)

    key = dg.AssetCheckKey(dg.AssetKey("gallery"), "quality")
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
    assert [record.evaluation.passed for record in records] == [False, False]
    wanted = dg.AssetRecordsFilter(dg.AssetKey("gallery"), asset_partitions=["stale"])
    assert len(instance.fetch_observations(wanted, limit=5).records) == 2


def test_without_a_limit_no_catalog_is_stale(instance, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_CHECKS__FRESHNESS_HOURS", "0")
    assert load_settings().checks.freshness_hours == 0
    made("stale", days_ago=900)

    assert isinstance(tick(instance), dg.SkipReason)


def test_a_catalog_may_have_hours_of_its_own(instance, monkeypatch, tmp_path):
    (tmp_path / "catalogs").mkdir()
    rows = "rows: [{text: a mug}]\n"
    for catalog, hours in (("stale", "1.5"), ("fresh", "0")):
        (tmp_path / f"catalogs/{catalog}.yaml").write_text(f"freshness_hours: {hours}\n{rows}")
    made("stale", days_ago=0.1)
    made("fresh", days_ago=900)
    for setting in ("24", "0"):
        monkeypatch.setenv("IMAGEGENX_CHECKS__FRESHNESS_HOURS", setting)

        event, _ = tick(instance).asset_events

        assert (event.partition, event.description) == ("stale", "has not been made for 1.5 h")

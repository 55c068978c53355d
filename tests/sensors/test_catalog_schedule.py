import json
from datetime import UTC, datetime

import pytest
from dagster import DagsterRun

from ops.editions import wanted_edition
from resources.local_store import LocalObjectStore
from sensors.catalog_schedule import catalog_schedule

OFTEN = "schedule: {{cron: '* * * * *', timezone: Asia/Shanghai, policy: {policy}}}\nrows: [{{text: a mug}}]\n"


@pytest.fixture
def catalogs(ticker, tmp_path):
    folder = tmp_path / "home/catalogs"
    folder.mkdir(parents=True)
    ticker.instance.add_dynamic_partitions("catalogs", ["shop"])
    return folder


def rewind(ticker, seconds=3600):
    """Let so much time pass, as it does while the daemon is down."""
    kept = json.loads(ticker.cursors["catalog_schedule"])
    ticker.cursors["catalog_schedule"] = json.dumps({key: at_s - seconds for key, at_s in kept.items()})


def test_a_catalogs_own_schedule_is_kept_from_when_it_is_first_seen(ticker, catalogs):
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="changed"))

    first = ticker.tick(catalog_schedule)
    rewind(ticker)
    due = ticker.tick(catalog_schedule)

    assert first.run_requests == []
    assert first.skip_reason.skip_message.startswith("Nothing is due. Next: shop at 20")
    (request,) = due.run_requests
    assert (request.partition_key, request.tags["imagegenx/policy"]) == ("shop", "changed")


def test_what_fell_due_many_times_while_the_daemon_was_down_is_made_once(ticker, catalogs):
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="changed"))
    ticker.tick(catalog_schedule)
    rewind(ticker, 3 * 24 * 3600)

    assert len(ticker.tick(catalog_schedule).run_requests) == 1


def test_reseed_asks_for_one_new_edition_however_often_the_tick_is_evaluated(ticker, catalogs, tmp_path):
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="reseed"))
    ticker.tick(catalog_schedule)
    rewind(ticker)
    before = dict(ticker.cursors)
    (request,) = ticker.tick(catalog_schedule).run_requests
    ticker.cursors = before
    ticker.tick(catalog_schedule)

    assert request.tags["imagegenx/edition"] == "1"
    assert wanted_edition(LocalObjectStore(tmp_path / "home/store"), "shop").edition == 1


def test_the_settings_schedule_any_catalog_and_win_over_its_own_line(ticker, catalogs, monkeypatch):
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="reseed"))
    yearly = {"catalog": "shop", "cron": "0 6 1 1 *", "timezone": "Asia/Shanghai"}
    monkeypatch.setenv("IMAGEGENX_SCHEDULES", json.dumps([yearly, {**yearly, "catalog": "unknown"}]))

    result = ticker.tick(catalog_schedule)

    assert list(json.loads(result.cursor)) == ["shop 0 6 1 1 * Asia/Shanghai changed"]
    following = datetime.now(UTC).year + 1
    assert result.skip_reason.skip_message == f"Nothing is due. Next: shop at {following}-01-01 06:00 CST."


def test_an_edited_schedule_begins_anew_and_a_removed_one_is_forgotten(ticker, catalogs):
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="changed"))
    ticker.tick(catalog_schedule)
    rewind(ticker)
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="reseed"))
    assert ticker.tick(catalog_schedule).run_requests == []

    (catalogs / "shop.yaml").write_text("rows: [{text: a mug}]\n")

    result = ticker.tick(catalog_schedule)
    assert result.cursor == "{}"
    assert result.skip_reason.skip_message == "No registered catalog has a schedule."


def test_files_that_are_no_registered_catalogs_stop_no_schedule(ticker, catalogs):
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="changed"))
    (catalogs / "no name!.yaml").write_text(OFTEN.format(policy="changed"))
    (catalogs / "latin.yaml").write_bytes("schedule: {cron: '@daily'}\nrows: [{text: Käse}]".encode("latin-1"))
    (catalogs / ".copying-x1.yaml").write_text("schedule:")
    never = OFTEN.format(policy="changed").replace("* * * * *", "0 0 30 2 *")
    (catalogs / "never.yaml").write_text(never)
    ticker.instance.add_dynamic_partitions("catalogs", ["latin", "never"])
    ticker.tick(catalog_schedule)
    rewind(ticker)

    assert [request.partition_key for request in ticker.tick(catalog_schedule).run_requests] == ["shop"]


def test_a_schedule_whose_moments_cannot_be_computed_stops_no_other(ticker, catalogs, monkeypatch):
    """A rule of the library's that ours does not know yet."""
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="changed"))
    (catalogs / "never.yaml").write_text(OFTEN.format(policy="changed").replace("* * * * *", "0 0 30 2 *"))
    ticker.instance.add_dynamic_partitions("catalogs", ["never"])
    monkeypatch.setattr("ops.catalog.document.cron_rule", lambda line: "")
    ticker.tick(catalog_schedule)
    rewind(ticker)

    assert [request.partition_key for request in ticker.tick(catalog_schedule).run_requests] == ["shop"]


def test_a_memory_that_is_lost_loses_nothing_that_fell_due(ticker, catalogs):
    """As told by the run of the last time, which lies an hour back."""
    (catalogs / "shop.yaml").write_text(OFTEN.format(policy="changed"))
    ticker.tick(catalog_schedule)
    rewind(ticker, 3600)
    kept = json.loads(ticker.cursors["catalog_schedule"])
    ((key, at_s),) = kept.items()
    tags = {"imagegenx/reason": "schedule", "dagster/run_key": f"schedule:{key} {at_s:.0f}:shop"}
    ticker.instance.add_run(DagsterRun(job_name="catalog", tags=tags))
    ticker.cursors.clear()

    (request,) = ticker.record(ticker.tick(catalog_schedule)).run_requests
    ticker.cursors.clear()
    again = ticker.tick(catalog_schedule).run_requests

    assert request.partition_key == "shop"
    assert request.run_key not in [one.run_key for one in again]

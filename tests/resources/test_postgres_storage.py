"""Dagster's PostgreSQL storage that waits for its server, beside Dagster's own over the same tables."""

import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
import sqlalchemy

from ops.upkeep import delete_old_check_results
from resources import postgres_storage
from resources.dagster_outages import is_outage
from tests.support.postgres_server import running_postgres
from tests.support.waiting import wait_until

PLAIN = """
telemetry: {enabled: false}
storage: {postgres: {postgres_url: {env: DAGSTER_POSTGRES_URL}}}
"""
OURS = """
telemetry: {enabled: false}
storage:
  custom:
    module: resources.postgres_storage
    class: PostgresStorage
    config:
      postgres_url: {env: DAGSTER_POSTGRES_URL}
"""


@dg.asset
def picture():
    """An asset with a check."""


@dg.asset_check(asset=picture)
def whole():
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(scope="module")
def server():
    with running_postgres() as server:
        yield server


@pytest.fixture
def instances(server, tmp_path, monkeypatch):
    """An instance with our storage, and one with Dagster's own, over one database."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", server.new_database().replace("://", "+psycopg2://"))
    (tmp_path / "dagster.yaml").write_text(OURS, encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as ours:
        (tmp_path / "dagster.yaml").write_text(PLAIN, encoding="utf-8")
        with dg.DagsterInstance.from_config(str(tmp_path)) as plain:
            yield ours, plain


def test_dagsters_own_storage_reads_what_ours_wrote_and_the_other_way_round(instances):
    for writer, reader in (instances, instances[::-1]):
        writer.report_runless_asset_event(dg.AssetMaterialization("picture"))
        latest = reader.get_latest_materialization_event(dg.AssetKey("picture"))
        assert latest == writer.get_latest_materialization_event(dg.AssetKey("picture")) is not None


def test_old_check_results_go_but_the_last_one_stays(instances):
    ours, plain = instances
    runs = [dg.materialize([picture, whole], instance=ours).run_id for _ in range(3)]

    assert delete_old_check_results(ours, 1) == 0
    assert delete_old_check_results(ours, 0) == 2

    key = dg.AssetCheckKey(dg.AssetKey("picture"), "whole")
    (left,) = plain.event_log_storage.get_asset_check_execution_history(key, limit=9)
    assert left.run_id == runs[-1]


def test_a_call_waits_for_a_server_that_is_away_and_goes_on(instances, server, caplog):
    ours, _ = instances
    ours.add_dynamic_partitions("catalogs", ["mugs"])
    server.stop()
    found = ThreadPoolExecutor(1)
    try:
        answer = found.submit(ours.get_dynamic_partitions, "catalogs")
        wait_until(lambda: "PostgreSQL is away, and waited for" in caplog.text)
        assert not answer.done()
    finally:
        server.start()
    assert list(answer.result(60)) == ["mugs"]
    found.shutdown()


@pytest.fixture
def engine_of(server):
    """Engines for a URL that connect as the storage does."""
    made = []

    def new(url):
        made.append(sqlalchemy.create_engine(url.replace("://", "+psycopg2://")))
        sqlalchemy.event.listen(made[-1], "do_connect", postgres_storage._Patience().connect)
        return made[-1]

    yield new
    for engine in made:
        engine.dispose()


def test_a_server_that_stays_away_is_given_up_once_and_told_as_an_outage(server, engine_of, monkeypatch):
    monkeypatch.setattr(postgres_storage, "AWAY_S", 1.0)
    engine, waited_s = engine_of(server.url()), []
    server.stop()
    try:
        for _ in range(2):
            began_s = time.monotonic()
            with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
                engine.connect()
            waited_s.append(time.monotonic() - began_s)
            assert is_outage(caught.value)
    finally:
        server.start()
    assert waited_s[0] > 1 > waited_s[1]
    engine.connect().close()


def test_what_a_server_refuses_for_good_is_not_waited_for(server, engine_of, caplog):
    engine = engine_of(server.url().replace(server.password, "another"))

    with pytest.raises(sqlalchemy.exc.OperationalError, match="authentication failed"):
        engine.connect()
    assert "waited for" not in caplog.text


def test_a_fault_is_no_outage():
    assert not is_outage(ValueError("a bug"))
    assert not is_outage(OSError("a broken picture"))
    assert not is_outage(sqlalchemy.exc.IntegrityError("INSERT", {}, Exception("duplicate key")))

"""Dagster's SQLite storage with connections that stay open, beside Dagster's own over the same files."""

import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from resources.sqlite_storage import OPEN_FILES, EventLogStorage

MESSAGES = 20
OURS = """
storage:
  custom:
    module: resources.sqlite_storage
    class: SqliteStorage
    config:
      base_dir: {env: DAGSTER_HOME}
"""


@dg.asset
def picture():
    return dg.MaterializeResult(metadata={"rows": 2})


@dg.asset_check(asset=picture)
def whole():
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{OURS}", encoding="utf-8")
    return tmp_path


def made(instance):
    return dg.materialize([picture, whole], instance=instance).run_id


def events(instance, run_id):
    return [entry.dagster_event_type for entry in instance.all_logs(run_id)]


@pytest.mark.parametrize("name", ["feature%2Fx", "50% %20off", "why?mode=ro#1", "Mu\u0308ller", "仓库&;'x"])
def test_a_folder_may_have_any_name(tmp_path, monkeypatch, name):
    home = tmp_path / "homes" / name
    home.mkdir(parents=True)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    (home / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{OURS}", encoding="utf-8")

    with dg.DagsterInstance.from_config(str(home)) as ours:
        run = made(ours)
        assert ours.get_run_by_id(run).is_success
        assert "ASSET_MATERIALIZATION" in [kind.value for kind in events(ours, run) if kind]

    assert [path.name for path in (tmp_path / "homes").iterdir()] == [name]
    assert {"history", "schedules"} <= {path.name for path in home.iterdir()}
    assert (home / "history/runs.db").is_file()
    assert (home / "schedules/schedules.db").is_file()


def test_dagsters_own_storage_reads_what_ours_wrote_while_ours_is_open_and_the_other_way_round(home):
    with dg.DagsterInstance.from_config(str(home)) as ours:
        first = made(ours)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        with dg.DagsterInstance.from_config(str(home)) as plain:
            assert not isinstance(plain.event_log_storage, EventLogStorage)
            assert events(plain, first) == events(ours, first)
            second = made(plain)
            latest = ours.get_latest_materialization_event(dg.AssetKey("picture"))
        assert isinstance(ours.event_log_storage, EventLogStorage)

        assert latest.run_id == second
        assert events(ours, second)[-1] is dg.DagsterEventType.RUN_SUCCESS
        assert len(ours.fetch_materializations(dg.AssetKey("picture"), limit=9).records) == 2


def test_the_files_of_only_the_last_runs_stay_open_and_those_before_can_still_be_read(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = [made(instance) for _ in range(OPEN_FILES + 1)]

        opened = open_files(home)
        assert events(instance, runs[0])[-1] is dg.DagsterEventType.RUN_SUCCESS
    assert "index.db" in opened
    assert f"{runs[-1]}.db" in opened
    assert f"{runs[0]}.db" not in opened
    assert len(opened) == OPEN_FILES
    assert not open_files(home), "disposing the instance closes them all"


def test_a_commit_waits_for_no_disk(home):
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        instance.event_log_storage.index_connection() as connection,
    ):
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_every_file_of_the_database_is_waited_for_while_others_write(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        storages = [
            instance.run_storage.connect(),
            instance.schedule_storage.connect(),
            instance.event_log_storage.index_connection(),
        ]
        for storage in storages:
            with storage as connection:
                assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


KILLED = f"""
import os, signal
import dagster as dg
@dg.job
def nothing():
    pass
with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
    run = instance.create_run_for_job(nothing)
    for number in range({MESSAGES}):
        instance.report_engine_event(f"message {{number}}", run)
    instance.report_runless_asset_event(dg.AssetMaterialization("picture"))
    instance.add_dynamic_partitions("catalogs", ["mugs"])
    print(run.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_loses_nothing_that_it_has_reported(home):
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    with dg.DagsterInstance.from_config(str(home)) as ours:
        assert_has_everything(ours, killed.stdout.strip())
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    with dg.DagsterInstance.from_config(str(home)) as plain:
        assert_has_everything(plain, killed.stdout.strip())


def assert_has_everything(instance, run_id):
    told = [entry.dagster_event.message for entry in instance.all_logs(run_id)]
    assert told == [f"message {number}" for number in range(MESSAGES)]
    assert len(instance.fetch_materializations(dg.AssetKey("picture"), limit=9).records) == 1
    assert instance.get_dynamic_partitions("catalogs") == ["mugs"]


def test_a_run_that_is_deleted_leaves_no_file(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        first, second = made(instance), made(instance)

        instance.delete_run(first)

        assert list((home / "history/runs").glob(f"{first}*")) == []
        assert events(instance, second)[-1] is dg.DagsterEventType.RUN_SUCCESS
        assert events(instance, first) == []


def test_what_fails_half_way_is_undone(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        made(instance)

        with pytest.raises(OperationalError):
            delete_and_fail(instance.event_log_storage)

        assert len(instance.fetch_materializations(dg.AssetKey("picture"), limit=9).records) == 1


def test_wiping_leaves_no_event_and_a_storage_that_works(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        before = made(instance)
        instance.event_log_storage.wipe()

        assert events(instance, before) == []
        assert events(instance, made(instance))[-1] is dg.DagsterEventType.RUN_SUCCESS


def delete_and_fail(storage):
    with storage.index_connection() as connection:
        connection.exec_driver_sql("DELETE FROM event_logs")
        connection.exec_driver_sql("SELECT * FROM nowhere")


def open_files(home):
    files = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {file.name for file in files if file.suffix == ".db" and file.parent == home / "history/runs"}

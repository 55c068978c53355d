import shutil
import time

import dagster as dg
import pytest

from configs.settings import PACKAGE_ROOT
from ops.upkeep import delete_old_check_results, delete_old_runs
from tests.support.dagster_daemon import open_instance

DAYS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset(partitions_def=DAYS)
def kept():
    """An asset whose latest materializations matter."""


@dg.asset
def disposable():
    """An asset whose materializations keep no run."""


def materialize(instance, asset, **options):
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return dg.materialize([asset], instance=instance, run_config=quiet, **options).run_id


def test_old_runs_go_except_those_that_the_picture_of_an_asset_rests_on():
    with dg.DagsterInstance.ephemeral() as instance:
        replaced = materialize(instance, kept, partition_key="a")
        latest = {materialize(instance, kept, partition_key=key) for key in ("a", "b")}
        served = [materialize(instance, disposable) for _ in range(3)]

        assert delete_old_runs(instance, 1, disposable_asset="disposable") == 0
        assert delete_old_runs(instance, 0, disposable_asset="disposable") == 4

        left = {run.run_id for run in instance.get_runs()}
        assert left == latest
        assert instance.all_logs(replaced) == []
        assert all(instance.all_logs(run_id) == [] for run_id in served)


def test_more_runs_than_one_page_are_deleted(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(250):
            instance.create_run_for_job(nothing_job, status=dg.DagsterRunStatus.SUCCESS)
        time.sleep(0.01)

        assert delete_old_runs(instance, 0, disposable_asset="disposable") == 250


@dg.job
def nothing_job():
    """A job without steps."""


with dg._utils.warnings.disable_dagster_warnings():
    CHECK = dg.AssetCheckSpec("whole", asset="kept", partitions_def=DAYS)


@dg.multi_asset(specs=[dg.AssetSpec("kept", skippable=True)], check_specs=[CHECK], partitions_def=DAYS, can_subset=True)
def kept_and_checked(context):
    """An asset with a check of every partition."""
    yield dg.AssetMaterialization("kept", partition=context.partition_key)
    checked = {"asset_key": dg.AssetKey("kept"), "check_name": "whole", "passed": True}
    yield dg.AssetCheckEvaluation(**checked, partition=context.partition_key)


@pytest.fixture
def on_disk(tmp_path):
    """An instance of our own dagster.yaml, in SQLite files."""
    shutil.copyfile(PACKAGE_ROOT / "configs/dagster.yaml", tmp_path / "dagster.yaml")
    with open_instance(tmp_path) as instance:
        yield instance


def run_files(folder):
    """The runs that have a file, whatever its ending."""
    return {file.name.partition(".")[0] for file in (folder / "history/runs").iterdir()} - {"index"}


def check_results(instance):
    """(partition, run) of every result."""
    with instance.event_log_storage.index_connection() as connection:
        rows = connection.exec_driver_sql('SELECT "partition", run_id FROM asset_check_executions ORDER BY id')
        return [tuple(row) for row in rows]


def test_the_files_and_check_results_of_deleted_runs_go(on_disk, tmp_path):
    runs = [materialize(on_disk, kept_and_checked, partition_key=key) for key in ("a", "b", "a", "a")]
    assert run_files(tmp_path) == set(runs)
    assert check_results(on_disk) == list(zip("abaa", runs, strict=True))

    assert delete_old_runs(on_disk, 0, disposable_asset="disposable") == 2
    assert delete_old_check_results(on_disk, 0) == 2

    assert run_files(tmp_path) == {runs[1], runs[3]}
    assert check_results(on_disk) == [("b", runs[1]), ("a", runs[3])]
    assert on_disk.all_logs(runs[3])[-1].dagster_event_type is dg.DagsterEventType.RUN_SUCCESS


def test_check_results_that_are_not_old_stay(on_disk):
    for _ in range(3):
        materialize(on_disk, kept_and_checked, partition_key="a")

    assert delete_old_check_results(on_disk, 1) == 0
    assert len(check_results(on_disk)) == 3

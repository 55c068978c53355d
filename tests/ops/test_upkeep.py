import time

import dagster as dg

from ops.upkeep import delete_old_runs

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

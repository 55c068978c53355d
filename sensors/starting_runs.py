"""The sensor that ends runs whose process died before they began, which Dagster's monitor leaves to a timeout."""

from collections.abc import Iterator

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunsFilter,
    SensorEvaluationContext,
    SkipReason,
)

from resources.settings_resource import SettingsResource
from sensors.owned import owned_sensor


@owned_sensor(
    "operations",
    name="starting_runs",
    minimum_interval_seconds=15,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Asks the launcher of many machines how runs are that have been launched and have not begun. Those whose"
        " process has ended are marked failed, so that others take their place at once; those that wait for a GPU wait."
    ),
)
def starting_runs(context: SensorEvaluationContext, settings: SettingsResource) -> SkipReason:
    """Look at every starting run; what is found is the tick's reason."""
    launcher = settings.current.placement.launcher
    if launcher == "none":
        return SkipReason("Runs start on this machine, where their end is noticed at once.")
    try:
        found = list(_look(context.instance))
    except OSError as exc:  # errors of `requests` among them
        return SkipReason(f"{launcher} does not answer: {exc}")
    return SkipReason("; ".join(found) or "No run is starting.")


def _look(instance: DagsterInstance) -> Iterator[str]:
    """What became of each starting run, after failing those that are lost."""
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTING])):
        health = instance.run_launcher.check_run_worker_health(run)
        # It may have begun, or ended, meanwhile.
        if health.status.name == "FAILED" and _is_starting(instance, run):
            instance.report_run_failed(run, f"The run ended before it began: {health.msg}")
            yield f"run {run.run_id} ended before it began"
        else:
            yield f"run {run.run_id} is {health.status.value.lower()}, and has not begun"


def _is_starting(instance: DagsterInstance, run: DagsterRun) -> bool:
    now = instance.get_run_by_id(run.run_id)
    return now is not None and now.status is DagsterRunStatus.STARTING

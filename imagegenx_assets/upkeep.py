"""The daily job that keeps the Dagster database from growing for ever."""

from dagster import DefaultScheduleStatus, OpExecutionContext, ScheduleDefinition, in_process_executor, job, op

from imagegenx_assets.on_demand import on_demand_images
from ops.upkeep import delete_old_check_results, delete_old_runs
from resources.settings_resource import SettingsResource
from sensors.owned import part_tags


@op(tags={"dagster/kind": "dagster"})
def remove_old_runs(context: OpExecutionContext, settings: SettingsResource) -> int:
    """Delete runs that ended more than `serving.keep_runs_days` ago, and check results as old, that nobody needs."""
    days = settings.current.serving.keep_runs_days
    deleted = delete_old_runs(context.instance, days, disposable_asset=on_demand_images.key.to_user_string())
    results = delete_old_check_results(context.instance, days)
    context.log.info(f"{deleted} runs deleted that ended more than {days} days ago, and {results} results of checks.")
    return deleted


@job(
    tags=part_tags("operations"),
    executor_def=in_process_executor,
    description="Deletes the runs that ended more than `serving.keep_runs_days` ago, except those that an asset needs,"
    " and results of checks as old, except the last one of each check and catalog.",
)
def dagster_upkeep() -> None:
    """See the job's description."""
    remove_old_runs()


daily_upkeep = ScheduleDefinition(
    name="daily_upkeep",
    job=dagster_upkeep,
    tags=part_tags("operations"),
    cron_schedule="30 3 * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description=(
        "Keeps the Dagster database bounded, every night. Catalogs are not scheduled here: the sensor catalog_schedule"
        " keeps the schedules that settings and catalog files bring."
    ),
)

"""The daily job that keeps the Dagster database from growing for ever."""

from dagster import DefaultScheduleStatus, OpExecutionContext, ScheduleDefinition, in_process_executor, job, op

from imagegenx_assets.on_demand import on_demand_images
from ops.upkeep import delete_old_runs
from resources.settings_resource import SettingsResource


@op
def remove_old_runs(context: OpExecutionContext, settings: SettingsResource) -> int:
    """Delete runs that ended more than `serving.keep_runs_days` ago, except those that an asset still needs."""
    days = settings.current.serving.keep_runs_days
    deleted = delete_old_runs(context.instance, days, disposable_asset=on_demand_images.key.to_user_string())
    context.log.info(f"{deleted} runs deleted that ended more than {days} days ago.")
    return deleted


@job(executor_def=in_process_executor, description="Deletes old runs, so that the Dagster database stays bounded.")
def dagster_upkeep() -> None:
    """See the job's description."""
    remove_old_runs()


daily_upkeep = ScheduleDefinition(
    name="daily_upkeep",
    job=dagster_upkeep,
    cron_schedule="30 3 * * *",
    default_status=DefaultScheduleStatus.RUNNING,
)

"""The nightly jobs that keep the store and Dagster's database from growing for ever."""

from dagster import DefaultScheduleStatus, ScheduleDefinition, in_process_executor, job

from ops.garbage_collection import collect_store_garbage
from ops.upkeep import remove_old_runs
from sensors.owned import part_tags


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


@job(
    tags=part_tags("operations"),
    executor_def=in_process_executor,
    description="Removes from the store what nothing refers to any more, and what is past its retention"
    " (`retention.*`), like `imagegenx store gc`. One run at a time.",
)
def store_upkeep() -> None:
    """See the job's description."""
    collect_store_garbage()


nightly_collection = ScheduleDefinition(
    name="nightly_collection",
    job=store_upkeep,
    tags=part_tags("operations"),
    cron_schedule="10 4 * * *",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Collects the store's garbage every night. Stop it here to collect by hand: `imagegenx store gc`.",
)

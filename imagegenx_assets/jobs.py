"""The job that makes a catalog, and the sensor that makes what follows an asset that was made by itself."""

from dagster import AutomationConditionSensorDefinition, DefaultSensorStatus, define_asset_job, in_process_executor

from sensors.launching import CATALOG_ASSETS
from sensors.owned import part_tags

CATALOG_JOB = "catalog_pictures"

catalog_pictures = define_asset_job(
    CATALOG_JOB,
    selection=CATALOG_ASSETS,
    tags=part_tags("lifecycle"),
    # Warm models belong to a process, and a process per step would load them again for each.
    executor_def=in_process_executor,
    description="From a prompt catalog to its gallery: every asset of one catalog, in one process.",
)

catalog_automation = AutomationConditionSensorDefinition(
    "catalog_automation",
    target=CATALOG_ASSETS,
    default_status=DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    run_tags={"imagegenx/reason": "follows upstream"},
    tags=part_tags("lifecycle"),
    description=(
        "When an asset of a catalog is made by itself, the ones after it follow, all in one run. Runs of the whole job"
        " make a catalog's assets together and set off nothing here."
    ),
)

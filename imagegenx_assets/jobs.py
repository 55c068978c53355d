"""The jobs."""

from dagster import define_asset_job, in_process_executor

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

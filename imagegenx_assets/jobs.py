"""The jobs."""

from dagster import AssetSelection, define_asset_job, in_process_executor

from imagegenx_assets.catalog_work import GROUP

CATALOG_JOB = "catalog_pictures"

catalog_pictures = define_asset_job(
    CATALOG_JOB,
    selection=AssetSelection.groups(GROUP),
    # Warm models belong to a process, and a process per step would load them again for each.
    executor_def=in_process_executor,
    description="From a prompt catalog to its gallery: every asset of one catalog, in one process.",
)

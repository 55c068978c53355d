"""The main job for one catalog, with another engine than the configured one."""

from dagster import ExecuteInProcessResult, materialize

from configs.settings import load_settings
from imagegenx_assets.catalog_assets import ASSETS
from imagegenx_assets.definitions import RESOURCES
from imagegenx_cli.catalogs import add_partition
from imagegenx_cli.embedded_dagster import dagster_instance
from resources.gpu_engine import GPUEngine

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_main_job(catalog: str, gpu_engine: GPUEngine | None = None) -> ExecuteInProcessResult:
    """Materialize every asset of a catalog in this process, on the Dagster instance of the configured home."""
    with dagster_instance(load_settings().home) as instance:
        add_partition(instance, catalog)
        return materialize(
            ASSETS,
            resources={**RESOURCES, **({"gpu_engine": gpu_engine} if gpu_engine else {})},
            partition_key=catalog,
            instance=instance,
            run_config=_QUIET,
        )

"""The code location: assets, jobs and resources wired together. Loading it reads no settings and reaches nothing."""

from dagster import Definitions, in_process_executor

import resources.code_server_runs  # noqa: F401 as it says
from imagegenx_assets.catalog_assets import ASSETS
from imagegenx_assets.jobs import catalog_automation, catalog_pictures
from imagegenx_assets.on_demand import on_demand_images, serving_run
from imagegenx_assets.published import published_images
from imagegenx_assets.releases import SOURCES, accepted
from imagegenx_assets.upkeep import dagster_upkeep, daily_upkeep, nightly_collection, store_upkeep
from io_managers.image_set_io_manager import ImageSetIOManager
from io_managers.table_io_manager import TableIOManager
from resources.gpu_engine import GPUEngine
from resources.object_store_resource import ObjectStoreResource
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource
from sensors.asked_changes import asked_changes_sensor
from sensors.catalog_schedule import catalog_schedule
from sensors.catalog_source import catalog_source
from sensors.freshness import stale_catalogs_sensor
from sensors.model_release import model_release
from sensors.queue_sensor import queue_sensor
from sensors.reviews import reviews_sensor
from sensors.run_failure import run_failure_alert
from sensors.starting_runs import starting_runs

_settings = SettingsResource()
_store = ObjectStoreResource(settings=_settings)

RESOURCES = {
    "settings": _settings,
    "gpu_engine": GPUEngine(settings=_settings),
    "object_store": _store,
    "request_queue": RequestQueueResource(settings=_settings),
    "image_sets": ImageSetIOManager(object_store=_store, settings=_settings),
    "tables": TableIOManager(object_store=_store),
}

defs = Definitions(
    assets=[*SOURCES, *ASSETS, published_images, on_demand_images],
    asset_checks=[accepted],
    jobs=[catalog_pictures, serving_run, dagster_upkeep, store_upkeep],
    sensors=[
        queue_sensor,
        catalog_source,
        asked_changes_sensor,
        catalog_schedule,
        model_release,
        stale_catalogs_sensor,
        catalog_automation,
        reviews_sensor,
        run_failure_alert,
        starting_runs,
    ],
    schedules=[daily_upkeep, nightly_collection],
    resources=RESOURCES,
    executor=in_process_executor,
)

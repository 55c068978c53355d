"""The code location: assets, jobs and resources wired together. Loading it reads no settings and reaches nothing."""

from dagster import Definitions, in_process_executor

from imagegenx_assets.catalog_assets import ASSETS
from imagegenx_assets.jobs import catalog_pictures
from io_managers.image_set_io_manager import ImageSetIOManager
from io_managers.table_io_manager import TableIOManager
from resources.gpu_engine import GPUEngine
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource

_settings = SettingsResource()
_store = ObjectStoreResource()

RESOURCES = {
    "settings": _settings,
    "gpu_engine": GPUEngine(),
    "object_store": _store,
    "image_sets": ImageSetIOManager(object_store=_store, settings=_settings),
    "tables": TableIOManager(object_store=_store),
}

defs = Definitions(
    assets=ASSETS,
    jobs=[catalog_pictures],
    resources=RESOURCES,
    executor=in_process_executor,
)

"""What catalogs depend on and Dagster does not make: their files, and the releases of the models."""

from dagster import AssetCheckResult, AssetSpec, asset_check

from imagegenx_assets.partitions import CATALOGS, MODELS
from ops.catalog.refused import check_accepted, refused_files
from ops.checks.result import check_result
from resources.dagster_names import ACCEPTED, CATALOG_FILES, MODEL_RELEASES, OWNERS
from resources.object_store_resource import ObjectStoreResource

GROUP = "sources"

catalog_files = AssetSpec(
    CATALOG_FILES,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"csv", "yaml"},
    partitions_def=CATALOGS,
    description="The catalog files of the watched folder or prefix: when each was taken, refused and why, or retired."
    " Observed by the sensor catalog_source.",
)

model_releases = AssetSpec(
    MODEL_RELEASES,
    group_name=GROUP,
    owners=OWNERS,
    kinds={"pytorch", "safetensors"},
    partitions_def=MODELS,
    description="The release of every model with its LoRAs, of the upscaling network (`upscaler`), and of fonts and"
    " logos (`marks`): a digest of the files, by which recipes name them. Observed by the sensor model_release.",
)

SOURCES = [catalog_files, model_releases]
"""Observed, never made here."""


@asset_check(
    name=ACCEPTED,
    asset=CATALOG_FILES,
    description="No file that lies where catalogs come from is refused. Evaluated by the sensor catalog_source when"
    " that changes; executed by hand it tells what the sensor found last.",
)
def accepted(object_store: ObjectStoreResource) -> AssetCheckResult:
    """Which files are refused now, and why."""
    return check_result({ACCEPTED: check_accepted(refused_files(object_store.store))})

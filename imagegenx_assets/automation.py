"""Declarative automation: assets that follow the ones they are made from."""

from dagster import AutomationConditionSensorDefinition, DefaultSensorStatus

from sensors.launching import CATALOG_ASSETS
from sensors.owned import part_tags

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

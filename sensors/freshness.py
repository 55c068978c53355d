"""Stale catalogs: those whose pictures are older than `checks.freshness_hours`, or their own, fail `fresh`.

Dagster's own freshness policies look at an asset's last materialization, whichever partition that was, so that one
fresh catalog would hide every stale one; and its freshness checks know time partitions only.
"""

import json
import time

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    DefaultSensorStatus,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from ops.catalog.schedules import freshness_hours
from ops.check_targets import latest_target
from ops.freshness import FRESH_CHECK, stale_catalogs, stale_text
from ops.upkeep import forget_runless_results
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.kept_memory import KeptMemory
from sensors.launching import CATALOG_ASSETS, PARTITIONS
from sensors.owned import owned_sensor

_GALLERY = AssetKey("gallery")
_CHECK = AssetCheckKey(_GALLERY, FRESH_CHECK)


@owned_sensor(
    "lifecycle",
    name="catalog_freshness",
    asset_selection=CATALOG_ASSETS,
    minimum_interval_seconds=300,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Fails the check `fresh` of every catalog that has not been made for `checks.freshness_hours`, or the"
        " `freshness_hours` of its own file, once; the catalog's next run passes it again. 0 turns it off."
    ),
)
def stale_catalogs_sensor(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult | SkipReason:
    """Report each catalog once when it becomes stale; the next run of the catalog passes the check again."""
    hours = freshness_hours(settings.current)
    if not settings.current.checks.freshness_hours and not any(hours.values()):
        return SkipReason("checks.freshness_hours is 0, and no catalog says otherwise: catalogs never become stale.")
    registered = set(context.instance.get_dynamic_partitions(PARTITIONS))
    stale = registered.intersection(stale_catalogs(object_store.store, hours, time.time()))
    memory = KeptMemory(settings.current.home / "sensors" / "catalog_freshness")
    reported = set(json.loads(memory.read(context.cursor or "") or "[]"))
    instance = context.instance
    found = [_evaluation(instance, catalog, hours[catalog]) for catalog in sorted(stale - reported)]
    forget_runless_results(instance, _CHECK, stale - reported)
    return SensorResult(asset_events=found, cursor=memory.keep(json.dumps(sorted(stale))))


def _evaluation(instance: DagsterInstance, catalog: str, hours: float) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(
        asset_key=_GALLERY,
        check_name=FRESH_CHECK,
        passed=False,
        severity=AssetCheckSeverity.WARN,
        partition=catalog,
        description=stale_text(hours),
        metadata={"what to do": "Materialize the catalog again, or give it a schedule."},
        target_materialization_data=latest_target(instance, _GALLERY, catalog),
    )

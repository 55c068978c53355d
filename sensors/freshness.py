"""Stale catalogs: the gallery's check warns of those older than `checks.freshness_hours`, or their own hours.

Dagster's own freshness policies look at an asset's last materialization, whichever partition that was, so that one
fresh catalog would hide every stale one; and its freshness checks know time partitions only.
"""

import time

from dagster import (
    AssetKey,
    AssetObservation,
    DefaultSensorStatus,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from ops.catalog.home_folder import open_catalogs
from ops.catalog.schedules import freshness_hours
from ops.checks.outcome import Outcome, Problem
from ops.checks.result import check_evaluation
from ops.freshness import REMEDY, stale_catalogs, too_old
from resources.dagster_names import CATALOG_PARTITIONS, GALLERY, QUALITY
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.kept_memory import KeptMemory
from sensors.launching import CATALOG_ASSETS
from sensors.owned import owned_sensor

_GALLERY = AssetKey(GALLERY)


@owned_sensor(
    "lifecycle",
    name="catalog_freshness",
    asset_selection=CATALOG_ASSETS,
    minimum_interval_seconds=300,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Fails the gallery's check when a catalog has not been made for `checks.freshness_hours`, or the"
        " `freshness_hours` of its own file, and says so on the catalog's page, once. 0 turns it off."
    ),
)
def stale_catalogs_sensor(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult | SkipReason:
    """Report each catalog once for each run that has become too old, and all stale ones with it.

    The memory holds the times of those runs: a run that came and grew old between two ticks is another one.
    """
    hours = freshness_hours(settings.current, open_catalogs(settings.current, object_store.store))
    if not settings.current.checks.freshness_hours and not any(hours.values()):
        return SkipReason("checks.freshness_hours is 0, and no catalog says otherwise: catalogs never become stale.")
    registered = set(context.instance.get_dynamic_partitions(CATALOG_PARTITIONS))
    found = stale_catalogs(object_store.store, hours, time.time())
    stale = {catalog: at_s for catalog, at_s in found if catalog in registered}
    memory = KeptMemory(object_store.store, "catalog_freshness")
    reported = _times(memory.read(context.cursor))
    news = sorted(catalog for catalog, at_s in stale.items() if reported.get(catalog) != at_s)
    observed = [AssetObservation(_GALLERY, description=too_old(hours[catalog]), partition=catalog) for catalog in news]
    problems = [Problem("", f"catalog {name} {too_old(hours[name])}", blocks=False) for name in sorted(stale)]
    fresh = {"fresh": Outcome(len(registered), problems, REMEDY)}
    checked = [check_evaluation(_GALLERY, QUALITY, fresh)] if news else []
    return SensorResult(asset_events=[*observed, *checked], cursor=memory.keep(stale))


def _times(memory: dict[str, float] | list[str] | None) -> dict[str, float]:
    """What an earlier version kept were names alone: those are told once more."""
    return memory if isinstance(memory, dict) else {}

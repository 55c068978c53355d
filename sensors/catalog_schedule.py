"""The sensor that keeps catalogs' schedules: what is due is made, or made anew with new seeds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import DefaultSensorStatus, RunRequest, RunsFilter, SensorEvaluationContext, SensorResult, SkipReason
from dagster._utils.schedules import get_latest_completed_cron_tick, get_next_cron_tick

from configs.settings import Settings
from ops.catalog.home_folder import open_catalogs
from ops.catalog.rows import CatalogSchedule
from ops.catalog.schedules import catalog_schedules
from ops.editions import request_edition
from resources.dagster_names import CATALOG_PARTITIONS, RUN_KEY_TAG
from resources.object_store import ObjectStore
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.kept_memory import KeptMemory
from sensors.launching import CATALOG_ASSETS, bound_pool, catalog_run
from sensors.owned import owned_sensor

REASON_TAG, REASON = "imagegenx/reason", "schedule"
_RUN_KEY = re.compile(r"schedule:(?P<key>.+) (?P<at_s>\d+):[^:]*", re.DOTALL)
"""Of the runs that `_refresh` launches."""
_RECENT_RUNS = 10_000


@dataclass(frozen=True)
class Due:
    """A schedule of a catalog, and the moment at which it last fell due."""

    catalog: str
    schedule: CatalogSchedule
    at_s: float

    @property
    def key(self) -> str:
        """What the moment is remembered under: an edited schedule begins anew."""
        return f"{self.catalog} {self.schedule.cron} {self.schedule.timezone} {self.schedule.policy}"


@owned_sensor(
    "lifecycle",
    name="catalog_schedule",
    asset_selection=CATALOG_ASSETS,
    minimum_interval_seconds=15,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Makes catalogs again when their schedules fall due, those of the settings and those that catalogs bring along."
        " Policy `changed` makes missing and stale rows; `reseed` begins a new edition, with new seeds for every"
        " picture. What fell due while the daemon was down is made up for, once."
    ),
)
def catalog_schedule(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult:
    """Compare when each schedule last fell due with when it was last kept."""
    current = settings.current
    memory = KeptMemory(object_store.store, "catalog_schedule")
    remembered = memory.read(context.cursor)
    kept: dict[str, float] = dict(_recorded(context)) if remembered is None else remembered
    schedules = list(_schedules(context, current, object_store))
    # A schedule is kept from the moment at which it is first seen: adding one makes nothing at once.
    due = [one for one in schedules if one.at_s > kept.get(one.key, one.at_s)]
    requests = [_refresh(one, object_store.store) for one in due]
    if due:
        bound_pool(context.instance, current)
    return SensorResult(
        run_requests=requests,
        skip_reason=None if requests else SkipReason(_outlook(schedules)),
        cursor=memory.keep({one.key: one.at_s for one in schedules}),
    )


def _recorded(context: SensorEvaluationContext) -> Iterator[tuple[str, float]]:
    """When each schedule was last kept, from the runs that were launched for it; for a memory that is lost."""
    launched = context.instance.get_runs(RunsFilter(tags={REASON_TAG: REASON}), limit=_RECENT_RUNS)
    for run in reversed(launched):
        if kept := _RUN_KEY.fullmatch(run.tags.get(RUN_KEY_TAG, "")):
            yield kept["key"], float(kept["at_s"])


def _schedules(
    context: SensorEvaluationContext, settings: Settings, object_store: ObjectStoreResource
) -> Iterator[Due]:
    registered = set(context.instance.get_dynamic_partitions(CATALOG_PARTITIONS))
    now = datetime.now(UTC)
    for catalog, schedule in catalog_schedules(settings, open_catalogs(settings, object_store.store)):
        if catalog in registered:
            try:
                at = get_latest_completed_cron_tick(schedule.cron, now, schedule.timezone)
            except ValueError as exc:
                context.log.error(f"The schedule '{schedule.cron}' of catalog '{catalog}' is not kept: {exc}")
                continue
            yield Due(catalog, schedule, at.timestamp())


def _refresh(due: Due, store: ObjectStore) -> RunRequest:
    asked_by = f"{due.key} {due.at_s:.0f}"
    tags = {REASON_TAG: REASON, "imagegenx/policy": due.schedule.policy}
    if due.schedule.policy == "reseed":
        tags["imagegenx/edition"] = str(request_edition(store, due.catalog, asked_by))
    return catalog_run(due.catalog, f"schedule:{asked_by}", tags)


def next_due(schedule: CatalogSchedule) -> datetime:
    """When a schedule falls due next."""
    return get_next_cron_tick(schedule.cron, datetime.now(UTC), schedule.timezone)


def _outlook(schedules: list[Due]) -> str:
    """What will be due next, for the tick's page."""
    if not schedules:
        return "No registered catalog has a schedule."
    at, catalog = min((next_due(one.schedule), one.catalog) for one in schedules)
    return f"Nothing is due. Next: {catalog} at {at:%Y-%m-%d %H:%M %Z}."

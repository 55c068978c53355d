"""What people ask for on a catalog's page is made: rows with another prompt or seed, or a new edition."""

from itertools import groupby

from dagster import DefaultSensorStatus, RunRequest, SensorEvaluationContext, SensorResult, SkipReason

from ops.review.asked import Asked, asked_changes
from resources.dagster_names import CATALOG_PARTITIONS
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.kept_memory import KeptMemory
from sensors.launching import CATALOG_ASSETS, bound_pool, catalog_run, catalogs_under_way
from sensors.owned import owned_sensor


@owned_sensor(
    "lifecycle",
    name="asked_changes",
    asset_selection=CATALOG_ASSETS,
    minimum_interval_seconds=5,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Makes what people ask for on the pages of catalogs: edited prompts, new seeds of rows or of all, an earlier"
        " edition again. Each is part of the catalog's next edition, and one run makes all that was asked at once."
        " While a run of the catalog is under way they wait: what it makes is an edition of its own."
    ),
)
def asked_changes_sensor(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult | SkipReason:
    """Hand over what is new; what the last tick has launched a run for goes now, since that tick is kept.

    A run that began before would not know of a change, and might end after the run that makes it.
    """
    store = object_store.store
    memory = KeptMemory(store, "asked_changes")
    launched = set(memory.read(context.cursor) or ())
    asked, news = sorted(asked_changes(store), key=lambda one: (one.catalog, one.at_s)), []
    busy = catalogs_under_way(context.instance) if asked else set()
    for one in asked:
        if one.key in launched or not context.instance.has_dynamic_partition(CATALOG_PARTITIONS, one.catalog):
            store.delete(one.key)
        elif one.catalog not in busy:
            one.hand_over(store)
            news.append(one)
    if not news and not launched:
        return SkipReason("Runs of these catalogs are under way." if asked else "Nobody has asked for anything.")
    if news:
        bound_pool(context.instance, settings.current)
    by_catalog = groupby(news, key=lambda one: one.catalog)
    requests = [_made(catalog, list(wishes)) for catalog, wishes in by_catalog]
    return SensorResult(run_requests=requests, cursor=memory.keep([one.key for one in news]))


def _made(catalog: str, wishes: list[Asked]) -> RunRequest:
    """The run of one catalog for all of its wishes."""
    people = sorted({one.by for one in wishes})
    tags = {"imagegenx/reason": "asked for", "imagegenx/asked_by": ", ".join(people)[:200]}
    return catalog_run(catalog, f"asked:{wishes[-1].id}", tags)

"""Reviews: what is reviewed is published, and Dagster shows what waits for whom. No run waits meanwhile."""

from dagster import (
    AssetKey,
    AssetObservation,
    AssetSelection,
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from ops.catalog.home_folder import open_catalogs
from ops.checks.result import check_evaluation
from ops.editions import request_rows
from ops.review.catalog_view import CatalogViews
from ops.review.progress import Reviewed, outcome, review_versions, reviews
from resources.dagster_names import CATALOG_PARTITIONS, PUBLISHED_IMAGES, REVIEWED, STAGES
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.kept_memory import KeptMemory
from sensors.launching import CATALOG_ASSETS, catalogs_under_way
from sensors.owned import owned_sensor

_ASSET = AssetKey(PUBLISHED_IMAGES)


@owned_sensor(
    "lifecycle",
    name="reviews",
    asset_selection=CATALOG_ASSETS | AssetSelection.assets(_ASSET),
    minimum_interval_seconds=30,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Publishes the approved pictures of each catalog with `review: required` once every picture has a verdict, and"
        " again when verdicts or pictures change; until then the check `reviewed` says who is asked, and for how many."
        " Rejected pictures of catalogs with `remake: n` are made again with new seeds, n times at most. A catalog that"
        " a run is under way for waits until that has ended."
    ),
)
def reviews_sensor(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult | SkipReason:
    """Compare each review with what it was at the last look."""
    memory = KeptMemory(object_store.store, "reviews")
    kept = memory.read(context.cursor) or {}
    before, asked = kept.get("versions", {}), kept.get("asked", {})
    registered = set(context.instance.get_dynamic_partitions(CATALOG_PARTITIONS))
    catalogs = open_catalogs(settings.current, object_store.store)
    views = CatalogViews(object_store.store)
    busy = catalogs_under_way(context.instance)
    versions = {name: version for name, version in review_versions(catalogs, views).items() if name in registered}
    now = {name: before.get(name, "") if name in busy else version for name, version in versions.items()}
    if now == before:
        return SkipReason("No review has changed.")
    found = [one for one in reviews(catalogs, views) if one.catalog in now]
    news = [one for one in found if before.get(one.catalog, "") != now[one.catalog]]
    requests = [
        RunRequest(
            run_key=f"review:{one.catalog}:{one.version}",
            partition_key=one.catalog,
            asset_selection=[_ASSET],
            tags={"imagegenx/reason": "reviewed"},
        )
        for one in news
        if one.is_done
    ]
    releases = settings.current.releases
    # A rejected picture of a release on trial says something of the release, not of the row's seed.
    on_trial = releases.catalogs if releases.backfill == "trial" else ()
    for one in news:
        if one.catalog in on_trial:
            continue
        rows = {row: count for row, count in one.again.items() if asked.get(one.catalog, {}).get(row, 0) < count}
        if rows:
            request_rows(object_store.store, one.catalog, rows, f"reviews {one.version}")
            requests.append(_made_again(one))
            asked[one.catalog] = {**asked.get(one.catalog, {}), **rows}
    observed = [_observation(one) for one in news]
    return SensorResult(
        run_requests=requests,
        asset_events=[*observed, check_evaluation(_ASSET, REVIEWED, {REVIEWED: outcome(found)})],
        cursor=memory.keep({"versions": now, "asked": asked}),
    )


def _made_again(one: Reviewed) -> RunRequest:
    return RunRequest(
        run_key=f"remake:{one.catalog}:{one.version}",
        partition_key=one.catalog,
        asset_selection=[AssetKey(name) for name in STAGES],
        tags={"imagegenx/reason": "rejected"},
    )


def _observation(one: Reviewed) -> AssetObservation:
    return AssetObservation(
        _ASSET, partition=one.catalog, metadata={**one.counts, "asked": one.owner or "any reviewer"}
    )

"""The sensor that watches catalog sources: files become partitions, and changed catalogs are made."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from dagster import (
    AssetKey,
    AssetObservation,
    DefaultSensorStatus,
    MetadataValue,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from configs.settings import Settings
from models.registry import open_registry
from ops.catalog import Catalog, CatalogError
from ops.catalog.source import BucketSource, CatalogSource, FolderSource
from ops.catalog.watching import Look, SourceState, look
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.launching import (
    CATALOG_ASSETS,
    PARTITIONS,
    Launch,
    bound_pool,
    catalogs_in_open_backfills,
    launch_catalogs,
)
from sensors.owned import owned_sensor
from sensors.paced_cursor import PacedCursor

CATALOG_FILES = AssetKey("catalog_files")
_SHOWN_PROBLEMS = 50


@owned_sensor(
    "lifecycle",
    name="catalog_source",
    asset_selection=CATALOG_ASSETS,
    minimum_interval_seconds=1,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Watches a folder (`inbox/` in the home folder) or a key prefix for catalogs. New and changed ones are checked,"
        " registered as partitions and made; what is wrong with a file is told once, with all its problems, as an"
        " observation of `catalog_files`; a catalog whose file is gone loses its partition and keeps its pictures."
    ),
)
def catalog_source(
    context: SensorEvaluationContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> SensorResult:
    """One look at every source."""
    current = settings.current
    cursor = PacedCursor.read(context.cursor)
    if not cursor.is_due(current.catalog_source.interval_s):
        return SensorResult(skip_reason=SkipReason("The next look is not due yet."))
    states: dict[str, dict[str, Any]] = json.loads(cursor.memory or "{}")
    requests: list[RunRequest] = []
    observations: list[AssetObservation] = []
    refusals: list[str] = []
    for name, source in _sources(current, object_store):
        found = _look(context, source, SourceState.from_json(states.get(name) or _NOTHING), current)
        states[name] = found.state.to_json()
        requests += _register(context, found, current, cursor)
        observations += _observations(context, found)
        refusals += [f"{file}: {known.refusal}" for file, known in found.state.known.items() if known.refusal]
    reason = f"Refused: {'; '.join(refusals[:_SHOWN_PROBLEMS])}" if refusals else "No catalog has changed."
    return SensorResult(
        run_requests=requests,
        skip_reason=None if requests else SkipReason(reason),
        asset_events=observations,
        cursor=PacedCursor.next(json.dumps(states)),
    )


_NOTHING: dict[str, Any] = {"known": {}, "pending": {}}


def _sources(settings: Settings, object_store: ObjectStoreResource) -> Iterator[tuple[str, CatalogSource]]:
    """The configured sources by a name that stays the same."""
    if folder := settings.catalog_source.folder:
        yield f"folder:{folder}", FolderSource(folder, settings.catalog_folder)
    if prefix := settings.catalog_source.prefix:
        yield f"prefix:{prefix}", BucketSource(object_store.store, prefix)


def _look(context: SensorEvaluationContext, source: CatalogSource, before: SourceState, settings: Settings) -> Look:
    return look(source, before, settings, open_registry(settings), may_retire=_may_retire(context))


def _may_retire(context: SensorEvaluationContext) -> Callable[[str], bool]:
    """A catalog that a backfill is for keeps its partition until that has ended: Dagster would fail all of it."""
    busy: set[str] | None = None

    def may_retire(catalog: str) -> bool:
        nonlocal busy
        busy = catalogs_in_open_backfills(context) if busy is None else busy
        return catalog not in busy

    return may_retire


def _register(
    context: SensorEvaluationContext, found: Look, settings: Settings, cursor: PacedCursor
) -> list[RunRequest]:
    """Make partitions of what is new and launch what has changed."""
    for retired in found.retired:
        context.instance.delete_dynamic_partition(PARTITIONS, retired)
    names = [catalog.name for catalog in found.changed]
    if not names:
        return []
    bound_pool(context.instance, settings.serving.gpu_slots)
    context.instance.add_dynamic_partitions(PARTITIONS, names)
    digests = ",".join(sorted(f"{catalog.name}={catalog.digest}" for catalog in found.changed))
    launch = Launch(
        names,
        # A tick that is evaluated again asks for the same runs; content that comes back later asks for new ones.
        key=f"source:{cursor.looked_at_s}:{digests}",
        title=f"{len(names)} new or changed catalogs",
        description="Launched by the sensor catalog_source.",
        tags={"imagegenx/reason": "catalog changed"},
    )
    return launch_catalogs(context, launch)


def _observations(context: SensorEvaluationContext, found: Look) -> Iterator[AssetObservation]:
    for catalog in found.changed:
        yield _taken(catalog)
    for file, error in found.refused.items():
        context.log.error(f"{file} is refused: {error}")
        yield _refused(file, error)
    for catalog_name in found.retired:
        yield AssetObservation(CATALOG_FILES, partition=catalog_name, metadata={"state": "retired"})


def _taken(catalog: Catalog) -> AssetObservation:
    rows, digest = len(catalog.table), catalog.digest
    metadata: dict[str, Any] = {"state": "registered", "dagster/row_count": rows, "digest": digest}
    tags = {"dagster/data_version": digest}
    return AssetObservation(CATALOG_FILES, partition=catalog.name, metadata=metadata, tags=tags)


def _refused(file: str, error: CatalogError) -> AssetObservation:
    problems = MetadataValue.md("\n".join(f"* {problem}" for problem in error.problems[:_SHOWN_PROBLEMS]))
    metadata: dict[str, Any] = {"state": "refused", "file": file, "count": error.total, "problems": problems}
    return AssetObservation(CATALOG_FILES, partition=file.rpartition(".")[0], metadata=metadata)

"""The sensor that watches catalog sources: files become partitions, and changed catalogs are made."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetObservation,
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from configs.settings import Settings
from foundation.errors import ImageGenXError
from foundation.outside_text import one_line
from io_managers.text_table import text_table
from models.registry import open_registry
from ops.catalog.home_folder import open_catalogs
from ops.catalog.problems import CatalogError
from ops.catalog.reading import Catalog
from ops.catalog.refused import Refusal, check_accepted, note_refused, refused_files
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.source import BucketSource, CatalogSource, FolderSource
from ops.catalog.watching import Known, Look, SourceState, look, name_of
from ops.checks.result import check_evaluation
from resources.dagster_names import ACCEPTED, CATALOG_FILES, CATALOG_PARTITIONS
from resources.object_store import ObjectStore
from resources.object_store_resource import ObjectStoreResource
from resources.partitions import add_partitions
from resources.settings_resource import SettingsResource
from sensors.kept_memory import KeptMemory, PacedCursor
from sensors.launching import (
    CATALOG_ASSETS,
    Launch,
    bound_pool,
    catalogs_in_open_backfills,
    launch_catalogs,
)
from sensors.observed import latest_observations
from sensors.owned import owned_sensor

_CATALOG_FILES = AssetKey(CATALOG_FILES)
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
        " observation of `catalog_files`, whose check `accepted` fails meanwhile; a catalog whose file is gone loses"
        " its partition and keeps its pictures."
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
    kept = KeptMemory(object_store.store, "catalog_source")
    remembered = kept.read(cursor.memory)
    before = remembered if isinstance(remembered, dict) else {}
    round_ = _Round(dict(before))
    catalogs = open_catalogs(current, object_store.store, "sensor catalog_source")
    for name, source in _sources(current, catalogs):
        try:
            found = _look(context, source, _state(context, name, source, round_.states.get(name)), current, catalogs)
        except (ImageGenXError, OSError) as exc:
            round_.failed.append(exc)
            context.log.error(f"{source} could not be looked at: {exc}")
            continue
        round_.add(name, found, _register(context, found, current, cursor), _observations(context, name, found))
    if not round_.failed:
        round_.observations += _accepted(object_store.store, round_.refused)
    if round_.failed and round_.states == before and not round_.observations:
        raise round_.failed[0]  # nothing to keep, so that the tick itself can fail
    return SensorResult(
        run_requests=round_.requests,
        skip_reason=None if round_.requests else SkipReason(round_.outcome()),
        asset_events=round_.observations,
        cursor=PacedCursor.next(kept.keep(round_.states)),
    )


@dataclass
class _Round:
    """What one look at every source came to; a source that fails keeps its state and holds up no other."""

    states: dict[str, dict[str, Any]]
    requests: list[RunRequest] = field(default_factory=list)
    observations: list[AssetObservation | AssetCheckEvaluation] = field(default_factory=list)
    refused: dict[str, Refusal] = field(default_factory=dict)
    failed: list[Exception] = field(default_factory=list)

    def add(self, name: str, found: Look, requests: list[RunRequest], observations: Iterator[AssetObservation]) -> None:
        """Take in the look at one source."""
        self.states[name] = found.state.to_json()
        self.requests += requests
        self.observations += observations
        refused = {file: known for file, known in found.state.known.items() if known.refusal}
        told = {one_line(file): Refusal(one_line(known.refusal), not known.mark) for file, known in refused.items()}
        self.refused |= told

    def outcome(self) -> str:
        """For the tick's page, if nothing is launched."""
        lines = [f"Failed: {exc}" for exc in self.failed]
        if self.refused:
            told = [f"{file}: {one.why}" for file, one in self.refused.items()]
            lines.append(f"Refused: {'; '.join(told[:_SHOWN_PROBLEMS])}")
        return " ".join(lines) or "No catalog has changed."


def _accepted(store: ObjectStore, refused: Mapping[str, Refusal]) -> Iterator[AssetCheckEvaluation]:
    """The check of what is refused, when that has changed; the store remembers it for whoever asks."""
    if refused != refused_files(store):
        note_refused(store, refused)
        yield check_evaluation(_CATALOG_FILES, ACCEPTED, {ACCEPTED: check_accepted(refused)})


def _sources(settings: Settings, catalogs: RegisteredCatalogs) -> Iterator[tuple[str, CatalogSource]]:
    """The configured sources by a name that stays the same."""
    if folder := settings.catalog_source.folder:
        yield f"folder:{folder}", FolderSource(folder, catalogs)
    if prefix := settings.catalog_source.prefix:
        yield f"prefix:{prefix}", BucketSource(catalogs.store, prefix)


def _state(
    context: SensorEvaluationContext, name: str, source: CatalogSource, remembered: dict[str, Any] | None
) -> SourceState:
    """What is known of a source; where nothing is remembered, from what was observed of it.

    So a memory that is lost, or reset, makes no catalog again. Files are read again, for want of their marks.
    """
    with suppress(KeyError, TypeError):  # of nothing, or of what another version kept
        return SourceState.from_json(remembered or {})
    observed = latest_observations(context.instance, _CATALOG_FILES)
    taken = {catalog: one for catalog, one in observed.items() if one.metadata.get("state") == "registered"}
    files = {one.metadata["file"]: catalog for catalog, one in taken.items() if one.metadata.get("source") == name}
    # What was observed by an earlier version names neither source nor file.
    unnamed = {catalog for catalog, one in taken.items() if "source" not in one.metadata}
    files |= {file: name_of(file) for file, _ in source.marks() if name_of(file) in unnamed}
    return SourceState({file: Known("", catalog, taken[catalog].version) for file, catalog in files.items()})


def _look(
    context: SensorEvaluationContext,
    source: CatalogSource,
    before: SourceState,
    settings: Settings,
    catalogs: RegisteredCatalogs,
) -> Look:
    retire = settings.catalog_source.retire
    return look(source, before, catalogs, open_registry(settings), retire=retire, may_retire=_may_retire(context))


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
        context.instance.delete_dynamic_partition(CATALOG_PARTITIONS, retired)
    names = [catalog.name for catalog in found.changed]
    if not names:
        return []
    bound_pool(context.instance, settings)
    add_partitions(context.instance, CATALOG_PARTITIONS, names)
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


def _observations(context: SensorEvaluationContext, name: str, found: Look) -> Iterator[AssetObservation]:
    files = {known.catalog: file for file, known in found.state.known.items()}
    for catalog in found.changed:
        yield _taken(catalog, name, files[catalog.name])
    for file, error in found.refused.items():
        context.log.error(f"{one_line(file)} is refused: {error}")
        yield _refused(file, error)
    for catalog_name in found.retired:
        yield AssetObservation(_CATALOG_FILES, partition=catalog_name, metadata={"state": "retired"})


def _taken(catalog: Catalog, source: str, file: str) -> AssetObservation:
    """What `_state` reads back."""
    rows, digest = len(catalog.table), catalog.digest
    metadata: dict[str, Any] = {"state": "registered", "dagster/row_count": rows, "digest": digest}
    metadata |= {"source": source, "file": file}
    tags = {"dagster/data_version": digest}
    return AssetObservation(_CATALOG_FILES, partition=catalog.name, metadata=metadata, tags=tags)


def _refused(file: str, error: CatalogError) -> AssetObservation:
    shown = ((problem.row, problem.column, problem.rule) for problem in error.problems[:_SHOWN_PROBLEMS])
    problems = text_table(("place", "column", "problem"), shown)
    name = one_line(file)
    metadata: dict[str, Any] = {"state": "refused", "file": name, "count": error.total, "problems": problems}
    return AssetObservation(_CATALOG_FILES, partition=name.rpartition(".")[0], metadata=metadata)

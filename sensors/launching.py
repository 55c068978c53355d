"""Launching runs of catalogs: a run for a few, a backfill for many, which is one thing to watch and to cancel."""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster import AssetKey, AssetSelection, DagsterInstance, RunRequest, RunsFilter, SensorEvaluationContext
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

from configs.settings import Settings
from resources.dagster_names import CATALOG_PARTITIONS, CATALOG_POOL, GALLERY, PARTITION_NAME_TAG
from sensors.serving_runs import OPEN

CATALOG_ASSETS = AssetSelection.groups(CATALOG_PARTITIONS)
FEW = 2
"""So many catalogs get a run each: it starts at once, where a backfill waits for the daemon's next round."""

_GALLERY = AssetKey(GALLERY)
FLEET_RUNS = 4
"""So many catalog runs at once keep few workers busy: one plans or ends while others have pictures under way."""

_OPEN = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]
_ID_LETTERS = 32


@dataclass(frozen=True)
class Launch:
    """What is launched, and why.

    Attributes:
        key: the same launch has the same key, and is made once, however often it is asked for.
        title: of a backfill, at most 255 characters.
    """

    catalogs: Sequence[str]
    key: str
    title: str
    description: str
    tags: Mapping[str, str]


def launch_catalogs(context: SensorEvaluationContext, launch: Launch) -> list[RunRequest]:
    """Launch all assets of some catalogs: the returned runs of a few, or else a backfill."""
    if len(launch.catalogs) > FEW:
        add_backfill(context, launch)
        return []
    return [catalog_run(catalog, launch.key, launch.tags) for catalog in launch.catalogs]


def catalog_run(catalog: str, key: str, tags: Mapping[str, str]) -> RunRequest:
    """A run of all assets of a catalog; `key` as of a `Launch`."""
    return RunRequest(run_key=f"{key}:{catalog}", partition_key=catalog, tags=dict(tags))


def add_backfill(context: SensorEvaluationContext, launch: Launch) -> str:
    """Add the backfill of a launch to Dagster's, unless it is there, and return its id.

    It is what the backfills page of Dagster makes too: visible there, and cancelled there.
    """
    backfill_id = hashlib.sha256(launch.key.encode()).hexdigest()[:_ID_LETTERS]
    instance = context.instance
    if instance.get_backfill(backfill_id) is None:
        assert context.repository_def
        keys = CATALOG_ASSETS.resolve(context.repository_def.asset_graph)
        catalogs = DefaultPartitionsSubset(set(launch.catalogs))
        # A named tuple whose defaults mypy does not see.
        target = AssetGraphSubset(dict.fromkeys(keys, catalogs), set())  # type: ignore[call-arg]
        backfill = PartitionBackfill.from_asset_graph_subset(
            backfill_id=backfill_id,
            asset_graph_subset=target,
            backfill_timestamp=time.time(),
            tags=dict(launch.tags),
            dynamic_partitions_store=instance,
            title=launch.title[:255],
            description=launch.description,
            run_config=None,
        )
        instance.add_backfill(backfill)
    return backfill_id


def catalogs_in_open_backfills(context: SensorEvaluationContext) -> set[str]:
    """The catalogs that a backfill is about to make, or is making."""
    return set(backfilled_catalogs(context, statuses=_OPEN))


def catalogs_under_way(instance: DagsterInstance) -> set[str]:
    """The catalogs that a run is about to make, or is making."""
    runs = instance.get_runs(RunsFilter(statuses=OPEN))
    return {run.tags[PARTITION_NAME_TAG] for run in runs if PARTITION_NAME_TAG in run.tags}


def backfilled_catalogs(context: SensorEvaluationContext, **wanted: Any) -> Iterable[str]:
    """The catalogs that some backfills are, or were, for: by the fields of Dagster's filter."""
    assert context.repository_def
    graph = context.repository_def.asset_graph
    for backfill in context.instance.get_backfills(BulkActionsFilter(**wanted)):
        if backfill.is_asset_backfill and _GALLERY in (backfill.asset_selection or ()):
            data = backfill.get_asset_backfill_data(graph)
            yield from data.get_target_partitions_subset(_GALLERY).get_partition_keys()


def bound_pool(instance: DagsterInstance, settings: Settings) -> None:
    """Let so many runs of catalogs work at once as the GPUs are good for, unless someone has set the limit.

    The limit that dagster.yaml gives to every pool, from the first run on, is nobody's choice for this one.
    """
    storage = instance.event_log_storage
    if CATALOG_POOL not in {pool.name for pool in storage.get_pool_limits() if not pool.from_default}:
        storage.set_concurrency_slots(CATALOG_POOL, catalog_runs(settings))


def catalog_runs(settings: Settings) -> int:
    """Catalog runs at once: each computes on a GPU, or, with the fleet, none does: while some wait, others encode."""
    slots = settings.serving.gpu_slots
    return max(FLEET_RUNS, 2 * slots) if settings.engine.fleet else slots

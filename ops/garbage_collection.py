"""The op that removes from the store what nothing refers to, and what has been kept long enough."""

from contextlib import ExitStack
from functools import partial
from typing import Any

from dagster import (
    AssetMaterialization,
    DagsterInstance,
    DagsterRunStatus,
    OpExecutionContext,
    RunsFilter,
    op,
)

from configs.settings import Settings
from ops.catalog.home_folder import open_catalogs
from ops.catalog.registered import RegisteredCatalogs
from ops.review.verdicts import merge_verdicts
from ops.store_life.collecting import Collection, collect_garbage
from ops.store_life.collection_lock import CollectionUnderWayError, only_collection
from ops.store_life.retention import Retention
from ops.store_life.tasks import live_tasks
from resources.audit import AuditEvent, open_audit, this_person
from resources.dagster_names import CATALOG_PARTITIONS, STORE_GARBAGE, UPKEEP_POOL
from resources.object_store import ObjectStore
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource

WITHOUT_MANIFEST = frozenset(("serving_run", "dagster_upkeep", "store_upkeep"))
"""Jobs whose runs, however long, store nothing that a later manifest of theirs will name."""
_UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]


@op(pool=UPKEEP_POOL, tags={"dagster/kind": "dagster"})
def collect_store_garbage(
    context: OpExecutionContext, settings: SettingsResource, object_store: ObjectStoreResource
) -> int:
    """Remove what `imagegenx store gc` would; leaves it to a collection that is under way already."""
    try:
        done, _, runs = collect_for(context.instance, settings.current, object_store.store)
    except CollectionUnderWayError as exc:
        context.log.warning(f"Nothing was done here: {exc}")
        return 0
    reasons = {reason: f"{gone.objects:,} objects, {gone.bytes:,} bytes" for reason, gone in done.removed.items()}
    context.log.info(f"{done.objects:,} objects removed, {done.bytes:,} bytes: {reasons or 'nothing was to go'}.")
    totals = {"objects": done.objects, "bytes": done.bytes, "spared": done.spared, "active_runs": runs}
    metadata: dict[str, Any] = {**totals, **{f"removed: {reason}": told for reason, told in reasons.items()}}
    context.log_event(AssetMaterialization(STORE_GARBAGE, description="Removed from the store.", metadata=metadata))
    return done.objects


def collect_for(
    instance: DagsterInstance, settings: Settings, store: ObjectStore, *, dry_run: bool = False
) -> tuple[Collection, float | None, int]:
    """Remove what nothing refers to any more, and what is past its retention.

    Returns:
        what was removed; since when the oldest active run is under way (seconds since 1970; None: there is none), as
        what was written since is kept; and how many active runs there are.
    Raises:
        CollectionUnderWayError: if somebody else removes from this store now.
        QueueUnavailableError: if the queue cannot be asked which pictures its tasks still have; nothing is removed.
        UnreadableManifestError: if a manifest cannot be read; no picture is removed.
    """
    active_since_s, runs = active_runs(instance)
    catalogs, done = open_catalogs(settings, store), Collection()
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(only_collection(store))
            stack.enter_context(open_audit(settings).deed(AuditEvent.GARBAGE_COLLECTED, this_person(), done.told))
        collect_garbage(
            store,
            Retention.now(settings.retention, active_since_s),
            registered=partial(registered_catalogs, instance, catalogs),
            tasks=live_tasks(settings),
            catalogs=catalogs,
            done=done,
            dry_run=dry_run,
        )
        if not dry_run:
            merge_verdicts(store)
    return done, active_since_s, runs


def active_runs(instance: DagsterInstance) -> tuple[float | None, int]:
    """When the oldest run that may write a manifest began, in s since 1970 (None: there is none), and how many are."""
    records = instance.get_run_records(RunsFilter(statuses=_UNDER_WAY))
    writing = [record for record in records if record.dagster_run.job_name not in WITHOUT_MANIFEST]
    began = [record.start_time or record.create_timestamp.timestamp() for record in writing]
    return min(began, default=None), len(began)


def registered_catalogs(instance: DagsterInstance, catalogs: RegisteredCatalogs) -> set[str]:
    """The catalogs that are partitions, or registered."""
    return {*instance.get_dynamic_partitions(CATALOG_PARTITIONS), *catalogs.names()}

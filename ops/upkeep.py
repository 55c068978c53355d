"""Upkeep of the Dagster instance: the op that deletes ended runs and results of checks that nobody needs any more."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import sqlalchemy
from dagster import (
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    OpExecutionContext,
    RunsFilter,
    op,
)
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from resources.dagster_names import ON_DEMAND_IMAGES
from resources.settings_resource import SettingsResource

_ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
_PAGE = 100


@op(tags={"dagster/kind": "dagster"})
def remove_old_runs(context: OpExecutionContext, settings: SettingsResource) -> int:
    """Delete runs that ended more than `serving.keep_runs_days` ago, and check results as old, that nobody needs."""
    days = settings.current.serving.keep_runs_days
    deleted = delete_old_runs(context.instance, days, disposable_asset=ON_DEMAND_IMAGES)
    results = delete_old_check_results(context.instance, days)
    context.log.info(f"{deleted} runs deleted that ended more than {days} days ago, and {results} results of checks.")
    return deleted


def delete_old_runs(instance: DagsterInstance, keep_days: int, *, disposable_asset: str) -> int:
    """Delete runs that ended more than `keep_days` ago, with their events and output; returns how many.

    A run that holds the latest materialization of an asset's partition is kept, because Dagster's picture of the
    asset rests on it.

    Args:
        disposable_asset: its materializations keep no run.
    """
    before = datetime.now(UTC) - timedelta(days=keep_days)
    needed = set(_needed_runs(instance, disposable_asset))
    dispensable = [run_id for run_id in _ended_runs(instance, before) if run_id not in needed]
    for run_id in dispensable:
        instance.delete_run(run_id)
        instance.compute_log_manager.delete_logs(prefix=[run_id])
    return len(dispensable)


def delete_old_check_results(instance: DagsterInstance, keep_days: int) -> int:
    """Delete results of asset checks older than `keep_days`, except the last one of each check and partition.

    Dagster keeps them apart from a run's events, for ever. Returns how many were deleted.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    before = (datetime.now(UTC) - timedelta(days=keep_days)).replace(tzinfo=None)
    results = AssetCheckExecutionsTable.c
    last = sqlalchemy.select(sqlalchemy.func.max(results.id))
    last = last.group_by(results.asset_key, results.check_name, results.partition)
    is_old = sqlalchemy.and_(results.evaluation_event_timestamp < before, results.id.not_in(last))
    with storage.index_connection() as connection:
        return connection.execute(AssetCheckExecutionsTable.delete().where(is_old)).rowcount


def _ended_runs(instance: DagsterInstance, before: datetime) -> Iterator[str]:
    cursor = None
    filters = RunsFilter(statuses=_ENDED, updated_before=before)
    while page := instance.get_run_records(filters, limit=_PAGE, cursor=cursor):
        cursor = page[-1].dagster_run.run_id
        yield from (record.dagster_run.run_id for record in page)


def _needed_runs(instance: DagsterInstance, disposable_asset: str) -> Iterator[str]:
    kind = DagsterEventType.ASSET_MATERIALIZATION
    for key in instance.all_asset_keys():
        if key.to_user_string() == disposable_asset:
            continue
        if latest := instance.get_latest_materialization_event(key):
            yield latest.run_id
        ids = list(instance.event_log_storage.get_latest_storage_id_by_partition(key, kind).values())
        for start in range(0, len(ids), _PAGE):
            wanted = AssetRecordsFilter(key, storage_ids=ids[start : start + _PAGE])
            yield from (record.run_id for record in instance.fetch_materializations(wanted, limit=_PAGE).records)

"""What blocking checks said in earlier runs, for runs that begin after the assets that they are of.

Dagster ends a run at a blocking check and then takes what was made as made: automation would follow it, and so would
anyone who materializes a later asset by itself. Its condition `all_deps_blocking_checks_passed` does not tell a
warning, such as a row that failed among many, from an error, and would hold back catalogs that may go on.
"""

from collections.abc import Iterable

from dagster import AssetCheckEvaluation, AssetCheckKey, AssetCheckSeverity, DagsterInstance
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}


def standing_refusal(instance: DagsterInstance, catalog: str, checks: Iterable[AssetCheckKey]) -> str:
    """What the last evaluation of these checks forbids for a catalog, and what to do; "" if it may go on."""
    for key in checks:
        result = _last_result(instance, catalog, key)
        if result and not result.passed and result.severity is AssetCheckSeverity.ERROR:
            asset = key.asset_key.to_user_string()
            found = f"check '{key.name}' of {asset}, in an earlier run: {result.description or 'failed'}"
            return f"{found}. Materialize {asset} again."
    return ""


def _last_result(instance: DagsterInstance, catalog: str, key: AssetCheckKey) -> AssetCheckEvaluation | None:
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=_EVALUATED, partition_filter=PartitionKeyFilter(key=catalog)
    )
    return records[0].evaluation if records else None

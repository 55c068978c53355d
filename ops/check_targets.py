"""Which materialization a check has looked at: Dagster's pages count a check's partitions by it."""

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

CheckTarget = AssetCheckEvaluationTargetMaterializationData


def latest_target(instance: DagsterInstance, asset: AssetKey, catalog: str) -> CheckTarget | None:
    """The last materialization of a catalog's asset, as an evaluation names what it is about; None before there is any.

    Dagster adds it to the results of a run of a single partition, but not to evaluations reported one by one.
    """
    found = instance.fetch_materializations(AssetRecordsFilter(asset, asset_partitions=[catalog]), limit=1).records
    if not found:
        return None
    return CheckTarget(storage_id=found[0].storage_id, run_id=found[0].run_id, timestamp=found[0].timestamp)

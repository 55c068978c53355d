"""What the checks of a catalog's assets found: observations on the asset's partition, which later runs ask for.

Dagster shows one result of a check for all catalogs together, the last one. It can keep one for each, but its pages
then look up every catalog for every check: the lineage of 5,000 takes it 8 s with PostgreSQL and 22 s with SQLite,
against 0.2 s. So what a check has against a catalog is observed of the asset, on the catalog's page.

Dagster ends a run at a blocking check and then takes what was made as made: automation would follow it, and so would
anyone who materializes a later asset by itself. Its condition `all_deps_blocking_checks_passed` does not tell a
warning, such as a row that failed among many, from an error, and would hold back catalogs that may go on.
"""

from collections.abc import Iterable

from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    AssetObservation,
    AssetRecordsFilter,
    DagsterInstance,
)

from ops.checks.result import blocks
from resources.dagster_names import QUALITY

_RESULT, _BLOCKED, _WARNED, _PASSED = "verdict", "blocked", "warned", "passed"


def record_check(context: AssetExecutionContext, result: AssetCheckResult) -> None:
    """Observe what a check found; that it passed only after it did not, so that what passes adds no event."""
    if result.passed and _last(context.instance, context.asset_key, context.partition_key)[0] == _PASSED:
        return
    word = _PASSED if result.passed else _BLOCKED if blocks(result) else _WARNED
    context.log_event(
        AssetObservation(
            context.asset_key,
            description=result.description or f"check '{QUALITY}' passed",
            partition=context.partition_key,
            metadata={_RESULT: word, **(result.metadata or {})},
        )
    )


def standing_refusal(instance: DagsterInstance, catalog: str, assets: Iterable[AssetKey]) -> str:
    """What the last checks of these assets forbid for a catalog, and what to do; "" if it may go on."""
    for key in assets:
        word, found = _last(instance, key, catalog)
        if word == _BLOCKED:
            asset = key.to_user_string()
            return f"check '{QUALITY}' of {asset}, in an earlier run: {found}. Materialize {asset} again."
    return ""


def _last(instance: DagsterInstance, asset: AssetKey, catalog: str) -> tuple[str, str]:
    """How the last check ended, and what was said with it; that an asset is too old is observed without one."""
    found = instance.fetch_observations(AssetRecordsFilter(asset, asset_partitions=[catalog]), limit=1).records
    if not found or not (observation := found[0].asset_observation):
        return _PASSED, ""
    word = observation.metadata.get(_RESULT)
    return str(word.value) if word else _WARNED, observation.description or ""

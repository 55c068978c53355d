"""The run of one or many catalogs: each through all its stages, reported as it goes, none held up by another."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from logging import Logger

from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetKey,
    AssetMaterialization,
)

from foundation.error_text import error_text
from imagegenx_assets.catalog_work import CatalogWork, Stage, StageCheck
from io_managers.settling import is_outage
from models.errors import ImageGenXError
from ops.catalog import CatalogError
from ops.check_targets import CheckTarget

Event = AssetMaterialization | AssetCheckEvaluation

_SHOWN_FAILURES = 20
_SHOWN_PROBLEMS = 50
"""Of a catalog's; `catalog validate` lists them all. Dagster keeps what is raised, and sends it to every viewer."""


class CatalogsFailedError(ImageGenXError):
    """Some catalogs of a run failed; the others are done."""


class CheckFailedError(ImageGenXError):
    """A blocking check found that a catalog must not go on."""


@dataclass(frozen=True)
class RunScope:
    """The stages and checks of which a run takes those that are selected.

    Attributes:
        refusal: why a catalog may not go on, by what these checks said in earlier runs; "" if it may.
        target: the materialization of a catalog's asset that checks look at; None if there is none.
    """

    stages: Sequence[Stage]
    checks: Sequence[StageCheck]
    asset_keys: Set[AssetKey]
    check_keys: Set[AssetCheckKey]
    refusal: Callable[[str, Sequence[AssetCheckKey]], str] = lambda catalog, checks: ""
    target: Callable[[AssetKey, str], CheckTarget | None] = lambda asset, catalog: None

    def checks_of(self, stage: Stage) -> Iterator[StageCheck]:
        """The selected checks of a stage's asset."""
        selected = (check for check in self.checks if check.spec.key in self.check_keys)
        return (check for check in selected if check.spec.asset_key == stage.spec.key)

    def earlier_checks(self, stage: Stage) -> list[AssetCheckKey]:
        """The blocking checks of what a stage reads and this run does not make."""
        before = {dep.asset_key for dep in stage.spec.deps} - self.asset_keys
        return [check.spec.key for check in self.checks if check.spec.blocking and check.spec.asset_key in before]


def run_catalogs(works: Iterable[CatalogWork], scope: RunScope, log: Logger) -> Iterator[Event]:
    """Take every catalog through the selected stages and checks; events come as things are done.

    Raises:
        CatalogsFailedError: at the end, naming the catalogs that failed. A run of a single catalog raises its error.
        StoreError: at once, if the store itself fails, since no other catalog would do better.
    """
    failures: dict[str, Exception] = {}
    total = 0
    for work in works:
        total += 1
        try:
            yield from _run_catalog(work, scope)
        except Exception as exc:
            if isinstance(exc, ImageGenXError) and is_outage(exc):
                raise
            failures[work.catalog] = exc.first(_SHOWN_PROBLEMS) if isinstance(exc, CatalogError) else exc
            log.error(
                error_text(f"catalog '{work.catalog}' failed: {exc}"), exc_info=not isinstance(exc, ImageGenXError)
            )
    if failures:
        raise _summary(failures, total)


def _run_catalog(work: CatalogWork, scope: RunScope) -> Iterator[Event]:
    for stage in scope.stages:
        work.forget()
        if stage.spec.key in scope.asset_keys:
            if (earlier := scope.earlier_checks(stage)) and (refusal := scope.refusal(work.catalog, earlier)):
                raise CheckFailedError(refusal)
            yield AssetMaterialization(stage.spec.key, partition=work.catalog, metadata=stage.make(work))
        if checks := list(scope.checks_of(stage)):
            target = scope.target(stage.spec.key, work.catalog)
            for check in checks:
                yield from _evaluated(check, work, target)


def _evaluated(check: StageCheck, work: CatalogWork, target: CheckTarget | None) -> Iterator[AssetCheckEvaluation]:
    """The check's result as an event; then CheckFailedError if it blocks."""
    result = check.evaluate(work)
    yield AssetCheckEvaluation(
        asset_key=check.spec.asset_key,
        check_name=check.spec.name,
        passed=result.passed,
        metadata=result.metadata or {},
        severity=result.severity,
        description=result.description,
        partition=work.catalog,
        target_materialization_data=target,
    )
    if check.spec.blocking and _has_failed(result):
        asset = check.spec.asset_key.to_user_string()
        raise CheckFailedError(f"check '{check.spec.name}' of {asset}: {result.description or 'failed'}")


def _has_failed(result: AssetCheckResult) -> bool:
    return not result.passed and result.severity is AssetCheckSeverity.ERROR


def _summary(failures: dict[str, Exception], total: int) -> Exception:
    if total == 1:
        return next(iter(failures.values()))
    lines = [f"{len(failures)} of {total} catalogs failed, the others are done. Run these again:"]
    for catalog, error in list(failures.items())[:_SHOWN_FAILURES]:
        lines.append(f"  {catalog}: {str(error).strip().partition(chr(10))[0]}")
    if len(failures) > _SHOWN_FAILURES:
        lines.append(f"  … and {len(failures) - _SHOWN_FAILURES} more, in the log above")
    return CatalogsFailedError("\n".join(lines))

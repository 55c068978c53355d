"""What a check found, as Dagster shows it."""

from collections.abc import Iterator, Mapping
from typing import Any

from dagster import AssetCheckEvaluation, AssetCheckResult, AssetCheckSeverity, AssetKey

from foundation.outside_text import as_code
from io_managers.text_table import text_table
from ops.checks.outcome import Outcome, Problem

SHOWN_ROWS = 20

Findings = Mapping[str, Outcome]
"""What was found, by what was looked for."""


def check_result(findings: Findings) -> AssetCheckResult:
    """The findings as Dagster shows them: a table of all, the first wrong rows of each, and what to do."""
    wrong = {finding: outcome for finding, outcome in findings.items() if outcome.problems}
    worst_first = dict(sorted(wrong.items(), key=lambda item: not item[1].blocks))
    metadata: dict[str, Any] = {
        "findings": text_table(("finding", "checked", "problems", "severity"), _summary(findings)),
    }
    if wrong:
        metadata["rows"] = text_table(("finding", "row", "problem"), _rows(worst_first))
        metadata["what to do"] = "\n".join(dict.fromkeys(outcome.remedy for outcome in worst_first.values()))
    blocked = any(outcome.blocks for outcome in wrong.values())
    return AssetCheckResult(
        passed=not wrong,
        severity=AssetCheckSeverity.ERROR if blocked else AssetCheckSeverity.WARN,
        metadata=metadata,
        description="; ".join(_line(finding, outcome) for finding, outcome in worst_first.items()) or None,
    )


def check_evaluation(asset: AssetKey, check: str, findings: Findings) -> AssetCheckEvaluation:
    """The same for a check that no step evaluates, but a sensor."""
    result = check_result(findings)
    return AssetCheckEvaluation(
        asset_key=asset,
        check_name=check,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata or {},
    )


def blocks(result: AssetCheckResult) -> bool:
    """Whether a catalog may go no further."""
    return not result.passed and result.severity is AssetCheckSeverity.ERROR


def _summary(findings: Findings) -> Iterator[tuple[str, ...]]:
    for finding, outcome in findings.items():
        severity = ("ERROR" if outcome.blocks else "WARN") if outcome.problems else "passed"
        yield finding, str(outcome.checked), str(len(outcome.problems)), severity


def _line(finding: str, outcome: Outcome) -> str:
    first = min(outcome.problems, key=_after_blocking)
    what = f"row {first.row_id} {first.what}" if first.row_id else first.what
    return f"{finding}: {len(outcome.problems)} of {outcome.checked}: {as_code(what)}"


def _rows(findings: Findings) -> Iterator[tuple[str, str, str]]:
    for finding, outcome in findings.items():
        # Those that block first: of many rows that failed, none may hide one that is wrong.
        ordered = sorted(outcome.problems, key=_after_blocking)
        for problem in ordered[:SHOWN_ROWS]:
            yield finding, problem.row_id, problem.what
        if len(ordered) > SHOWN_ROWS:
            yield finding, "", f"… and {len(ordered) - SHOWN_ROWS} more"


def _after_blocking(problem: Problem) -> bool:
    return not problem.blocks

"""Whether every file that was put where catalogs come from is one."""

from collections.abc import Mapping

from ops.catalog.refused import Refusal
from ops.checks.outcome import Outcome, Problem

_REMEDY = "Beside each file lies its `.problems.txt`, with every row and column. Correct the file, or take it away."


def check_accepted(refused: Mapping[str, Refusal]) -> Outcome:
    """An error for each file that is refused; one that waits for another file is a warning."""
    problems = [Problem("", f"{file}: {one.why}", blocks=not one.waits) for file, one in sorted(refused.items())]
    return Outcome(len(problems), problems, _REMEDY)

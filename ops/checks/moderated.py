"""Which pictures the moderator kept back."""

from io_managers.image_set import ImageSet, Status
from ops.checks.outcome import Outcome, Problem
from ops.moderation import UNJUDGED

_REMEDY = (
    "Look at those that are in quarantine. Change these prompts or the moderator, and materialize the catalog again."
)


def check_moderated(images: ImageSet, stamp: str) -> Outcome:
    """Report the rows that were rejected, and refuse pictures that the moderator has not allowed.

    Args:
        stamp: the moderator with its version; see `Moderation.stamp`.
    """
    problems, total = [], 0
    for row in images.rows():
        if row.status is Status.FAILED:
            continue
        total += 1
        if row.status is Status.REJECTED:
            problems.append(Problem(row.row_id, row.error, blocks=False))
        elif row.moderated_by == stamp + UNJUDGED:
            problems.append(Problem(row.row_id, f"was published by '{stamp}'{UNJUDGED}", blocks=False))
        elif row.moderated_by != stamp:
            problems.append(Problem(row.row_id, f"was allowed by '{row.moderated_by}', not by '{stamp}'"))
    return Outcome(total, problems, _REMEDY)

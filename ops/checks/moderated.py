"""Which pictures the moderator kept back."""

from io_managers.image_set import REJECTED, ImageSet, Status
from ops.checks.outcome import Outcome, Problem

_REMEDY = "Look at them in quarantine. Change these prompts or the moderator, and materialize the catalog again."


def check_moderated(images: ImageSet, stamp: str) -> Outcome:
    """Report the rows whose picture was rejected, and refuse pictures that the moderator has not allowed.

    Args:
        stamp: the moderator with its version; see `Moderation.stamp`.
    """
    problems, total = [], 0
    for row in images.rows():
        if row.status is Status.FAILED:
            if row.error.startswith(REJECTED):
                total += 1
                problems.append(Problem(row.row_id, row.error, blocks=False))
        else:
            total += 1
            if row.moderated_by != stamp:
                problems.append(Problem(row.row_id, f"was allowed by '{row.moderated_by}', not by '{stamp}'"))
    return Outcome(total, problems, _REMEDY)

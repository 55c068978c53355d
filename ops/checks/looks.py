"""Whether pictures show something, and each something of its own."""

from collections.abc import Iterator

from io_managers.image_set import ROWS_PER_BATCH, ImageSet
from ops.checks.outcome import Outcome, Problem

MIN_SPREAD = 1.0
"""A picture whose colours spread less (of 255 levels) is blank; a model that computes NaN paints such pictures."""
MIN_DUPLICATES = 8
"""Fewer duplicates never block: rows that differ only in what their model ignores have equal pictures by right."""
_COLUMNS = ["row_id", "recipe_digest", "spread", "fingerprint"]
_REMEDY = (
    "Open these pictures in the gallery. If many are wrong, the model is: run `imagegenx models verify`, and try it in "
    "full precision or without acceleration. If few are, change their prompts or seeds."
)


def check_looks(images: ImageSet) -> Outcome:
    """Find blank pictures, and equal pictures of different recipes, among all rows, by their `Look` in the manifest.

    Such pictures are reported; if half of the catalog or more is so, the model is at fault, and they block. Rows of
    manifests older than looks are not looked at.
    """
    blank, equal = dict[str, str](), dict[str, str]()
    firsts: dict[str, tuple[str, str]] = {}
    for row_id, recipe, spread, fingerprint in _looks(images):
        first_id, first_recipe = firsts.setdefault(fingerprint, (row_id, recipe))
        if spread < MIN_SPREAD:
            blank[row_id] = f"is blank: its colours spread {spread:.1f} of 255 levels"
        elif recipe != first_recipe:
            equal[row_id] = f"has the same picture as row '{first_id}', of another recipe"
    total = sum(bool(fingerprint) for fingerprint in images.manifest.column("fingerprint").to_pylist())
    blank_blocks = 2 * len(blank) >= total
    equal_blocks = len(equal) >= max(total / 2, MIN_DUPLICATES)
    problems = [
        *(Problem(row_id, what, blank_blocks) for row_id, what in blank.items()),
        *(Problem(row_id, what, equal_blocks) for row_id, what in equal.items()),
    ]
    return Outcome(total, problems, _REMEDY)


def _looks(images: ImageSet) -> Iterator[tuple[str, str, float, str]]:
    """Row id, recipe digest, spread and fingerprint of every row that has been looked at."""
    for batch in images.manifest.select(_COLUMNS).to_batches(ROWS_PER_BATCH):
        for values in zip(*(batch.column(name).to_pylist() for name in _COLUMNS), strict=True):
            if values[-1]:
                yield values

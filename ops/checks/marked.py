"""Whether files carry the marks that the policy asks for, read back as anybody would."""

from foundation.errors import ImageGenXError
from foundation.map_ahead import map_ahead
from io_managers.image_set import MAX_STORED_PIXELS, ImageSet, ManifestRow
from models.image import open_stored_picture
from models.recipe import PostStep, Recipe
from models.statement import mark_step
from ops.checks.outcome import Outcome, Problem
from ops.checks.sampling import KEPT_SHARE, sample_rows
from ops.marking import Marker

_REMEDY = "Run `imagegenx store verify --heal`, then materialize the catalog again: unmarked files are made again."


def check_marked(images: ImageSet, marker: Marker, wanted: PostStep | None, *, sample: int) -> Outcome:
    """Read the marks of pictures: of as many that were kept as other checks open of those that were made.

    Args:
        wanted: the step that the policy adds to every recipe; None asks for no marks.
    """
    if wanted is None:
        return Outcome(0)
    rows = list(sample_rows(images, sample * KEPT_SHARE))
    found = map_ahead(lambda row: _missing(images, marker, wanted, row), rows)
    return Outcome(len(rows), [Problem(row.row_id, what) for row, what in found if what], _REMEDY)


def _missing(images: ImageSet, marker: Marker, wanted: PostStep, row: ManifestRow) -> str:
    try:
        recipe = Recipe.from_json(row.recipe)
        if mark_step(recipe) != wanted:
            return "was finished under another policy of marks"
        data = images.store.get(row.key)
        missing = marker.missing(data, recipe, open_stored_picture(data, MAX_STORED_PIXELS))
    except ImageGenXError as exc:
        return f"'{row.key}': {exc}"
    return f"'{row.key}' is not marked as the policy asks: {missing}" if missing else ""

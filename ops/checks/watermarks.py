"""Whether watermarks are on the pictures that ask for them."""

import json
from typing import TYPE_CHECKING

from configs.settings import Settings
from foundation.errors import ImageGenXError
from io_managers.image_set import ImageSet, ManifestRow, StoredPicture
from models.recipe import Recipe
from models.request import PostProcess
from models.statement import mark_step
from ops.checks.outcome import Outcome, Problem
from ops.checks.sampling import sample_rows
from ops.marking import labelled
from ops.stages import watermarking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MIN_CHANGE = 8
"""Where a mark changes no pixel by more levels (of 255), such as white on white, there is nothing to see."""
_REMEDY = "Materialize watermarked_images again; if this stays, check the fonts and logos these rows name."


def check_watermarks(marked: ImageSet, unmarked: ImageSet, settings: Settings, *, sample: int) -> Outcome:
    """Compare a sample of pictures with the unmarked ones, where the mark should be.

    The mark is drawn again on the unmarked picture; the stored picture must be nearer to that than to the unmarked one
    in those pixels.
    """
    rows = list(sample_rows(marked, sample, lambda row: bool(json.loads(row.post_process)["watermark"]["enable"])))
    wanted = {row.row_id for row in rows}
    before = {row.row_id: row for row in unmarked.rows() if row.row_id in wanted}
    found = ((row.row_id, _missing_mark(marked, row, before.get(row.row_id), settings)) for row in rows)
    return Outcome(len(rows), [Problem(row_id, what) for row_id, what in found if what], _REMEDY)


def _missing_mark(images: ImageSet, row: ManifestRow, before: ManifestRow | None, settings: Settings) -> str:
    if before is None or not before.key:
        return "has no unmarked picture to compare with"
    change = watermarking(settings).plan(_post(row))
    assert change
    try:
        plain = StoredPicture(before, images.store).image()
        seen = StoredPicture(row, images.store).image()
        expected = change.apply(plain)
        if mark := mark_step(Recipe.from_json(row.recipe)):
            expected = labelled(expected, mark)
    except ImageGenXError as exc:
        return f"cannot be compared: {exc}"
    if seen.size != plain.size:
        return f"is {seen.width}×{seen.height} px, unmarked {plain.width}×{plain.height}"
    return "" if _is_marked(plain, seen, expected) else "has no watermark where one should be"


def _is_marked(plain: "Image", seen: "Image", expected: "Image") -> bool:
    change = _distance(plain, expected)
    mark = change > MIN_CHANGE
    if not mark.any():
        return True
    return bool(_distance(seen, expected)[mark].mean() < change[mark].mean() / 2)


def _distance(first: "Image", second: "Image") -> "NDArray[np.uint8]":
    """The difference of two pictures, pixel by pixel: the largest of the three channels, 0..255."""
    import numpy as np
    from PIL import ImageChops

    distance: NDArray[np.uint8] = np.asarray(ImageChops.difference(first, second)).max(axis=2)
    return distance


def _post(row: ManifestRow) -> PostProcess:
    return PostProcess.model_validate_json(row.post_process)

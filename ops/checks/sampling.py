"""Which pictures a check opens."""

import hashlib
import heapq
from collections.abc import Callable, Iterator
from itertools import chain

from io_managers.image_set import ImageSet, ManifestRow, Status

KEPT_SHARE = 4
"""Of the pictures that were made, and checked, by an earlier run, this fraction of the sample is opened again."""
_KEPT = (Status.REUSED, Status.PASSED)


def sample_rows(
    images: ImageSet, size: int, wanted: Callable[[ManifestRow], bool] = lambda row: True
) -> Iterator[ManifestRow]:
    """Up to `size` rows with a picture that this run made, and a quarter as many whose picture it kept.

    Which ones follows from the rows' recipes and the number of rows alone (SHA-256, smallest first): the same manifest
    has the same sample, and a catalog that grows has another. Rows come in no particular order.
    """
    made = (row for row in images.rows() if row.status is Status.MADE and wanted(row))
    kept = (row for row in images.rows() if row.status in _KEPT and wanted(row))
    seed = str(images.manifest.num_rows)

    def drawn(row: ManifestRow) -> bytes:
        return hashlib.sha256(f"{seed}:{row.recipe_digest}:{row.row_id}".encode()).digest()

    return chain(heapq.nsmallest(size, made, drawn), heapq.nsmallest(-(-size // KEPT_SHARE), kept, drawn))

"""Making some rows of a catalog only: the others stay as they were."""

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from foundation.errors import ImageGenXError
from io_managers.image_set import ImageStream, ManifestRow, Status

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
_LEFT_OUT = "was never made, and is not among the `rows` that the last run was for"


class UnknownRowsError(ImageGenXError):
    """A run is for rows that its catalog does not have."""


def choose_rows(table: "pd.DataFrame", row_ids: Collection[str]) -> "pd.DataFrame":
    """The rows of a catalog with these ids; all for none. Raises UnknownRowsError naming ids of no row."""
    if not row_ids:
        return table
    ids = table["id"].astype(str)
    if unknown := sorted(set(row_ids) - set(ids)):
        named = ", ".join(f"'{row_id[:80]}'" for row_id in unknown[:_SHOWN])
        known = ", ".join(f"'{row_id[:80]}'" for row_id in ids[:_SHOWN])
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise UnknownRowsError(f"rows: the catalog has no row {named}{more}. Its rows are {known}, …")
    return table[ids.isin(set(row_ids))]


def with_other_rows(stream: ImageStream, table: "pd.DataFrame") -> ImageStream:
    """A stream of all rows of a catalog: those of `stream`, and the others as the last run left them."""
    if len(stream.row_ids) == len(table):
        return stream
    ids = table["id"].astype(str).tolist()
    others = _kept(set(ids) - set(stream.row_ids), stream)
    return replace(stream, row_ids=ids, rows=_all(others, stream))


def _all(others: Iterator[ManifestRow], stream: ImageStream) -> Iterator[ManifestRow]:
    with closing(stream):
        yield from others
        yield from stream.rows


def _kept(row_ids: set[str], stream: ImageStream) -> Iterator[ManifestRow]:
    before = stream.last() if stream.last else None
    for row in before.rows() if before else ():
        if row.row_id in row_ids:
            row_ids.remove(row.row_id)
            yield replace(row, status=Status.REUSED, seconds=0.0) if row.status.has_picture else row
    yield from (ManifestRow(row_id, Status.FAILED, error=_LEFT_OUT) for row_id in sorted(row_ids))

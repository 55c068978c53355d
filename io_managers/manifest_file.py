"""A manifest that is written while its rows come, in any order: memory holds those that wait for an earlier one."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from io_managers.image_set import ManifestRow, manifest_schema, manifest_table

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ROWS_PER_GROUP = 4096


class ManifestFile:
    """A Parquet file of rows in the order of the catalog, compressed as they come.

    Args:
        row_ids: ids of all rows, in that order.
    """

    def __init__(self, row_ids: Sequence[str]) -> None:
        import pyarrow.parquet as pq

        self._row_ids = row_ids
        self._early: dict[str, ManifestRow] = {}
        self._group: list[ManifestRow] = []
        self._placed = 0
        self._target = io.BytesIO()
        self._writer: pq.ParquetWriter = pq.ParquetWriter(self._target, manifest_schema(), compression="zstd")

    def add(self, row: ManifestRow) -> Iterator[ManifestRow]:
        """One more row; yields those that have their place in the file now, in its order."""
        self._early[row.row_id] = row
        while self._placed < len(self._row_ids) and (placed := self._early.pop(self._row_ids[self._placed], None)):
            self._group.append(placed)
            self._placed += 1
            if len(self._group) == ROWS_PER_GROUP:
                self._write_group()
            yield placed

    def data(self) -> bytes:
        """The file, when every row was added."""
        assert self._placed == len(self._row_ids), f"row {self._row_ids[self._placed]} never came"
        self._write_group()
        self._writer.close()
        return self._target.getvalue()

    def _write_group(self) -> None:
        self._writer.write_table(manifest_table(self._group))
        self._group = []

"""Tables as metadata: outside text in cells, which Dagster's pages show as it is, where Markdown would act."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dagster import MetadataValue, TableColumn, TableMetadataValue, TableRecord, TableSchema

from foundation.outside_text import one_line

if TYPE_CHECKING:
    import pyarrow as pa


def text_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> TableMetadataValue:
    """A table of texts from anywhere, each on one line."""
    cells = (tuple(map(one_line, row)) for row in rows)
    return MetadataValue.table([TableRecord(dict(zip(columns, row, strict=True))) for row in cells])


def table_schema(schema: "pa.Schema") -> TableSchema:
    """Name and type of each column of a stored table."""
    return TableSchema([TableColumn(field.name, str(field.type)) for field in schema])

"""Outside text as metadata: cells of a table, which Dagster's pages show as they are, where Markdown would act."""

from collections.abc import Iterable

from dagster import MetadataValue, TableMetadataValue, TableRecord

from foundation.outside_text import one_line


def text_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> TableMetadataValue:
    """A table of texts from anywhere, each on one line."""
    cells = (tuple(map(one_line, row)) for row in rows)
    return MetadataValue.table([TableRecord(dict(zip(columns, row, strict=True))) for row in cells])

"""The IO manager of tables."""

import io
from typing import TYPE_CHECKING, Any

from dagster import (
    ConfigurableIOManager,
    InputContext,
    OutputContext,
    ResourceDependency,
    TableColumn,
    TableMetadataValue,
    TableSchema,
)

from io_managers.image_set import read_parquet
from io_managers.outages import outages_retried
from io_managers.text_table import text_table
from resources.object_store_resource import ObjectStoreResource

if TYPE_CHECKING:
    import pandas as pd

SHOWN_ROWS = 5
_SHOWN_COLUMNS = ("id", "text", "model_type", "resolution", "seed")


class TableIOManager(ConfigurableIOManager):
    """Keeps pandas tables as Parquet files in the object store, one per asset and catalog."""

    object_store: ResourceDependency[ObjectStoreResource]

    def handle_output(self, context: OutputContext, obj: "pd.DataFrame") -> None:
        """Store the table of one catalog; report where it is, its columns and first rows as metadata."""
        buffer = io.BytesIO()
        obj.to_parquet(buffer, index=False)
        key, types = table_key(context.asset_key.path[-1], context.partition_key), obj.dtypes.items()
        with outages_retried(context):
            stored = self.object_store.store.put(key, buffer.getvalue(), content_type="application/vnd.apache.parquet")
        described: dict[str, Any] = {
            "table": key,
            "dagster/uri": self.object_store.uri(key),
            "dagster/partition_row_count": len(obj),
            "dagster/column_schema": TableSchema([TableColumn(str(name), str(kind)) for name, kind in types]),
            "bytes": stored.size_bytes,
            "preview": _preview(obj),
        }
        context.add_output_metadata(described)

    def load_input(self, context: InputContext) -> "pd.DataFrame":
        """The upstream asset's table of the same catalog. Raises ObjectNotFoundError before its first run."""
        key = table_key(context.asset_key.path[-1], context.asset_partition_key)
        with outages_retried(context):
            table: pd.DataFrame = read_parquet(self.object_store.store.get(key)).to_pandas()
        return table


def _preview(table: "pd.DataFrame") -> TableMetadataValue:
    columns = tuple(name for name in _SHOWN_COLUMNS if name in table.columns)
    rows = table.loc[:, list(columns)].head(SHOWN_ROWS).itertuples(index=False, name=None)
    return text_table(columns, (tuple(map(str, row)) for row in rows))


def table_key(asset: str, catalog: str) -> str:
    """Object key of an asset's table for one catalog."""
    return f"tables/{asset}/{catalog}.parquet"

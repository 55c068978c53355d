"""The IO manager of tables."""

from typing import TYPE_CHECKING, Any

from dagster import (
    ConfigurableIOManager,
    InputContext,
    OutputContext,
    ResourceDependency,
    TableMetadataValue,
)

from io_managers.image_set import PARQUET, encode_table, read_parquet
from io_managers.outages import outages_retried
from io_managers.text_table import table_schema, text_table
from resources.object_store_resource import ObjectStoreResource

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 5
_SHOWN_COLUMNS = ("id", "text", "model_type", "resolution", "seed")


class TableIOManager(ConfigurableIOManager):
    """Keeps Arrow tables as Parquet files in the object store, one per asset and catalog."""

    object_store: ResourceDependency[ObjectStoreResource]

    def handle_output(self, context: OutputContext, obj: "pa.Table") -> None:
        """Store the table of one catalog; report where it is, its columns and first rows as metadata."""
        key = table_key(context.asset_key.path[-1], context.partition_key)
        with outages_retried(context):
            stored = self.object_store.store.put(key, encode_table(obj), content_type=PARQUET)
        described: dict[str, Any] = {
            "table": key,
            "dagster/uri": self.object_store.uri(key),
            "dagster/partition_row_count": len(obj),
            "dagster/column_schema": table_schema(obj.schema),
            "bytes": stored.size_bytes,
            "preview": _preview(obj),
        }
        context.add_output_metadata(described)

    def load_input(self, context: InputContext) -> "pa.Table":
        """The upstream asset's table of the same catalog. Raises ObjectNotFoundError before its first run."""
        key = table_key(context.asset_key.path[-1], context.asset_partition_key)
        with outages_retried(context):
            return read_parquet(self.object_store.store.get(key))


def _preview(table: "pa.Table") -> TableMetadataValue:
    columns = tuple(name for name in _SHOWN_COLUMNS if name in table.column_names)
    rows = table.select(columns).slice(0, SHOWN_ROWS).to_pylist()
    return text_table(columns, (tuple(map(str, row.values())) for row in rows))


def table_key(asset: str, catalog: str) -> str:
    """Object key of an asset's table for one catalog."""
    return f"tables/{asset}/{catalog}.parquet"

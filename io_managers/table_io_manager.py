"""The IO manager of tables."""

import io
from typing import TYPE_CHECKING

from dagster import ConfigurableIOManager, InputContext, OutputContext, ResourceDependency

from resources.object_store_resource import ObjectStoreResource

if TYPE_CHECKING:
    import pandas as pd


class TableIOManager(ConfigurableIOManager):
    """Keeps pandas tables as Parquet files in the object store, one per asset and catalog."""

    object_store: ResourceDependency[ObjectStoreResource]

    def handle_output(self, context: OutputContext, obj: "pd.DataFrame") -> None:
        """Store the table; the metadata has its key, rows and bytes."""
        buffer = io.BytesIO()
        obj.to_parquet(buffer, index=False)
        key = table_key(context.asset_key.path[-1], context.partition_key)
        stored = self.object_store.store.put(key, buffer.getvalue(), content_type="application/vnd.apache.parquet")
        context.add_output_metadata({"table": key, "dagster/row_count": len(obj), "bytes": stored.size_bytes})

    def load_input(self, context: InputContext) -> "pd.DataFrame":
        """The upstream asset's table for the same catalog. Raises ObjectNotFoundError before its first run."""
        import pandas as pd

        key = table_key(context.asset_key.path[-1], context.partition_key)
        return pd.read_parquet(io.BytesIO(self.object_store.store.get(key)))


def table_key(asset: str, catalog: str) -> str:
    """Object key of an asset's table for one catalog."""
    return f"tables/{asset}/{catalog}.parquet"

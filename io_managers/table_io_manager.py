"""The IO manager of tables."""

import io
from typing import TYPE_CHECKING

from dagster import ConfigurableIOManager, InputContext, OutputContext, ResourceDependency
from dagster._core.definitions.metadata import RawMetadataValue

from io_managers.image_set import read_parquet
from resources.object_store_resource import ObjectStoreResource

if TYPE_CHECKING:
    import pandas as pd


class TableIOManager(ConfigurableIOManager):
    """Keeps pandas tables as Parquet files in the object store, one per asset and catalog."""

    object_store: ResourceDependency[ObjectStoreResource]

    def store(self, asset: str, catalog: str, table: "pd.DataFrame") -> dict[str, RawMetadataValue]:
        """Store a table; returns its key, rows and bytes, as metadata."""
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        key = table_key(asset, catalog)
        stored = self.object_store.store.put(key, buffer.getvalue(), content_type="application/vnd.apache.parquet")
        return {"table": key, "dagster/row_count": len(table), "bytes": stored.size_bytes}

    def load(self, asset: str, catalog: str) -> "pd.DataFrame":
        """A stored table. Raises ObjectNotFoundError before the asset's first run."""
        table: pd.DataFrame = read_parquet(self.object_store.store.get(table_key(asset, catalog))).to_pandas()
        return table

    def handle_output(self, context: OutputContext, obj: "pd.DataFrame") -> None:
        """Store the table of one catalog; report what was done as metadata."""
        context.add_output_metadata(self.store(context.asset_key.path[-1], context.partition_key, obj))

    def load_input(self, context: InputContext) -> "pd.DataFrame | dict[str, pd.DataFrame]":
        """The upstream asset's table of the same catalog, or of each catalog of a run that has many."""
        asset, catalogs = context.asset_key.path[-1], context.asset_partition_keys
        loaded = {catalog: self.load(asset, catalog) for catalog in catalogs}
        return loaded if len(catalogs) > 1 else loaded[catalogs[0]]


def table_key(asset: str, catalog: str) -> str:
    """Object key of an asset's table for one catalog."""
    return f"tables/{asset}/{catalog}.parquet"

"""What the assets are partitioned by."""

from dagster import DynamicPartitionsDefinition

CATALOGS = DynamicPartitionsDefinition(name="catalogs")
"""One partition per registered catalog, named like it."""

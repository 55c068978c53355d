"""What the assets are partitioned by."""

from dagster import DynamicPartitionsDefinition

from sensors.launching import PARTITIONS

CATALOGS = DynamicPartitionsDefinition(name=PARTITIONS)
"""One partition per registered catalog, named like it."""

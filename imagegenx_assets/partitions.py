"""What the assets are partitioned by."""

from dagster import DynamicPartitionsDefinition

from resources.dagster_names import CATALOG_PARTITIONS, MODEL_PARTITIONS

CATALOGS = DynamicPartitionsDefinition(name=CATALOG_PARTITIONS)
"""One partition per registered catalog, named like it."""
MODELS = DynamicPartitionsDefinition(name=MODEL_PARTITIONS)
"""One partition per model with its LoRAs, and one each for the upscaling network and for fonts and logos."""

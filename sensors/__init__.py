"""Sensors: queue depth to serving runs, model releases to backfills, catalog files to partitions."""

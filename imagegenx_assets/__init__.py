"""The assets, their partitions and jobs."""

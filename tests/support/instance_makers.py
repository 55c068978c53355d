"""What a process does that opens a Dagster instance."""

import os
from pathlib import Path


def open_instance(folder: Path) -> None:
    """Open the instance of a home, which makes it if need be."""
    from imagegenx_cli.embedded_dagster import dagster_instance

    os.environ.pop("DAGSTER_HOME", None)
    with dagster_instance(folder) as instance:
        instance.add_dynamic_partitions("catalog", [f"shop-{os.getpid()}"])

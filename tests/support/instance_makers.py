"""Processes that make a Dagster instance: forked from one that has Dagster loaded, which takes seconds."""

import multiprocessing
import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["dagster", "resources.sqlite_storage", __name__])


def maker(folder: Path) -> ForkServerProcess:
    """A process, started, that opens the instance of a home, makes it if need be, and ends with status 0."""
    process = _context.Process(target=_open, args=(folder,))
    process.start()
    return process


def _open(folder: Path) -> None:
    from imagegenx_cli.embedded_dagster import dagster_instance

    os.environ.pop("DAGSTER_HOME", None)
    with dagster_instance(folder) as instance:
        instance.add_dynamic_partitions("catalog", [f"shop-{os.getpid()}"])

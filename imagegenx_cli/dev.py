"""`imagegenx dev`: Dagster's web server and daemon on this machine, over the data of `imagegenx demo`."""

import subprocess
import sys

import typer

from configs.settings import load_settings
from imagegenx_cli.catalogs import SHIPPED_CATALOGS, add_partition, register_shipped
from imagegenx_cli.embedded_dagster import dagster_instance
from models.registry import open_registry
from ops.catalog import catalog_name

HOST = "127.0.0.1"
GRACE_S = 20
SUPERSEDED = "ignore:Function `dev_command` is superseded"
"""Its successor, dg, belongs to the development tools; ours is a running service."""


def run_dev(ui_port: int) -> int:
    """Serve until Ctrl-C; returns the exit status of Dagster's processes."""
    settings = load_settings()
    registry = open_registry(settings)
    for file in sorted(SHIPPED_CATALOGS.iterdir()):
        register_shipped(catalog_name(file), settings, registry)
    with dagster_instance(settings.home) as instance:
        for file in sorted(settings.catalog_folder.iterdir()):
            if file.is_file():
                add_partition(instance, catalog_name(file))
    typer.echo(f"Dagster: http://{HOST}:{ui_port} (Ctrl-C ends it)")
    module = ["-m", "imagegenx_assets.definitions"]
    place = ["--host", HOST, "--port", str(ui_port), "--log-level", "warning"]
    return _until_interrupted([sys.executable, "-W", SUPERSEDED, "-m", "dagster", "dev", *module, *place])


def _until_interrupted(command: list[str]) -> int:
    """Run a command that ends its own children when interrupted, as Ctrl-C in a terminal does."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait(GRACE_S)
            return 0
        finally:
            process.terminate()

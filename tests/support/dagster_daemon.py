"""A home folder with the whole of Dagster over it: a real instance, the real daemon, and its code location."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus

from configs.settings import PACKAGE_ROOT
from io_managers.image_set import read_image_set
from resources.local_store import LocalObjectStore
from resources.object_store import ObjectNotFoundError

PATIENCE_S = 300
_DAEMON = """
import sys
from dagster._daemon import controller, sensor
from dagster._daemon.cli import cli
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = sensor.MIN_INTERVAL_LOOP_TIME = 2
controller.THREAD_CHECK_INTERVAL = 1
if "-m" in sys.argv:
    controller.RELOAD_WORKSPACE_INTERVAL = 3600
cli()
"""
"""Looks after backfills and sensors every two seconds, not every 30 and 5, which no setting changes; and ends soon.

Nor does it start another code server every minute, to read code anew, where it has one of its own.
"""
_ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def open_instance(folder: Path) -> DagsterInstance:
    """The instance of a folder with our dagster.yaml, which names the folder by DAGSTER_HOME."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        return DagsterInstance.from_config(str(folder))


@contextmanager
def running_daemon(log: Path, *arguments: str, environment: Mapping[str, str] | None = None):
    """Dagster's daemon, for as long as the block runs; what it started ends with it."""
    command = [sys.executable, "-c", _DAEMON, "run", *arguments]
    with log.open("a") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=PACKAGE_ROOT)
        try:
            yield process
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)  # SIGTERM would end it without its code server
            process.wait(60)
            for child in psutil.wait_procs(started, 10)[1]:
                child.kill()


class DaemonHome:
    """A home folder, its settings as environment variables, and what Dagster did in it."""

    location = "imagegenx_assets.definitions"

    def __init__(self, folder: Path, settings: dict[str, str]):
        self.home = folder / "home"
        self.inbox = self.home / "inbox"
        self.store = LocalObjectStore(self.home / "store")
        self.environment = (
            os.environ
            | settings
            | {
                "IMAGEGENX_HOME": str(self.home),
                "DAGSTER_HOME": str(self.home / "dagster"),
                "OMP_NUM_THREADS": "1",
                "IMAGEGENX_CATALOG_SOURCE__INTERVAL_S": "1",
                "IMAGEGENX_RELEASES__INTERVAL_S": "1",
            }
        )
        self.inbox.mkdir(parents=True)
        (self.home / "dagster").mkdir()
        shutil.copyfile(PACKAGE_ROOT / "configs/dagster.yaml", self.home / "dagster/dagster.yaml")
        # Made before the daemon starts: two processes cannot make the same SQLite files at once.
        self.instance = open_instance(self.home / "dagster")

    @contextmanager
    def daemon(self):
        """The daemon with its code location, for as long as the block runs."""
        log = self.home / "daemon.log"
        with running_daemon(log, "-m", self.location, environment=self.environment) as process:
            yield process

    def write(self, name: str, text: str) -> None:
        """Put a catalog into the watched folder."""
        (self.inbox / name).write_text(text, encoding="utf-8")

    def rows(self, catalog: str, asset: str = "generated_images"):
        """The rows of an asset's manifest, or none before its first run."""
        try:
            return list(read_image_set(self.store, asset, catalog).rows())
        except ObjectNotFoundError:
            return []

    def pictures(self) -> dict[Path, int]:
        """Every stored picture, with the time of its writing."""
        return {path: path.stat().st_mtime_ns for path in (self.home / "store").glob("pictures/*/*")}

    def runs(self):
        """All runs of catalogs, the oldest first."""
        return [run for run in self.instance.get_runs()[::-1] if not run.job_name.endswith("_upkeep")]

    def until(self, happened, what: str):
        """Wait for something to come about, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := happened()):
            states = [(run.run_id[:8], run.status.value) for run in self.runs()] if time.monotonic() >= deadline else []
            assert time.monotonic() < deadline, f"{what} did not happen; runs: {states}.\n{self.log()}"
            time.sleep(0.3)
        return found

    def until_runs_end(self, count: int):
        """Wait until so many runs have ended and no other is open; returns all."""

        def ended():
            runs = self.runs()
            return runs if len(runs) >= count and all(run.status in _ENDED for run in runs) else None

        return self.until(ended, f"the end of {count} runs")

    def materialized(self, asset: str) -> set[str]:
        """The partitions of an asset that are made."""
        return set(self.instance.get_materialized_partitions(AssetKey(asset)))

    def log(self) -> str:
        """The end of the daemon's log."""
        return (self.home / "daemon.log").read_text(errors="replace")[-6000:]

"""Runs of catalogs that Dagster begins again, and those that it must not begin twice.

One whose process is killed while Dagster's database is away is started again once that is back, and goes on where it
was. One that takes longer to begin than Dagster waits is begun once.
"""

import os
import re
import signal
from contextlib import contextmanager

import psutil
import pytest
import yaml
from dagster import DagsterEventType, DagsterRunStatus

from benchmarks.stand_in import PICTURE_S, StandInGPUEngine, run_main_job, write_stand_in_model
from configs.settings import PACKAGE_ROOT
from tests.support.dagster_daemon import DaemonHome

ROWS = 16
CATALOG = "id,text,resolution\n" + "".join(f"r{row},a mug {row},64x64\n" for row in range(ROWS))


class Shop(DaemonHome):
    """A home folder whose pictures are painted by a stand-in, eight at a time."""

    location = "benchmarks.stand_in_location"


def retry_as_deployed(home):
    """Add what deploy/dagster.yaml says of processes that died to an embedded instance."""
    file = home / "dagster/dagster.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    deployed = yaml.safe_load((PACKAGE_ROOT / "deploy/dagster.yaml").read_text(encoding="utf-8"))
    document |= {name: deployed[name] for name in ("run_monitoring", "run_retries")}
    document["run_monitoring"]["poll_interval_seconds"] = 1
    file.write_text(yaml.safe_dump(document), encoding="utf-8")


@pytest.fixture
def shop(tmp_path):
    # Signatures differ from one writing to the next, and bytes are compared here.
    settings = {"IMAGEGENX_SERVING__SENSOR_WAIT_S": "1", "IMAGEGENX_MARKS__POLICY": "off", PICTURE_S: "0.5"}
    shop = Shop(tmp_path, settings | write_stand_in_model(tmp_path / "model"))
    retry_as_deployed(shop.home)
    yield shop
    shop.instance.dispose()


def told(shop, run, words):
    """What Dagster says of its own doings with a run where it uses these words."""
    entries = shop.instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
    return [entry.dagster_event.message for entry in entries if words in entry.dagster_event.message]


def process_of(shop, run):
    """The id of a run's process, as Dagster tells it."""
    found = [re.search(r"pid: (\d+)", message) for message in told(shop, run, "Started process for run")]
    return int(found[0][1]) if found else 0


OUTAGE = re.compile(r"Sensor tick caught an error: .*folder.*")
SLOW = """
import sys
import time
from pathlib import Path

while sys.argv[0] == "-c" and not Path(__file__).with_name("go").exists():  # what runs are forked from
    time.sleep(0.1)
from benchmarks.stand_in_location import defs
"""


@pytest.mark.timeout(600)
def test_a_run_that_takes_longer_to_begin_than_dagster_waits_is_begun_once(shop, tmp_path):
    (tmp_path / "slow_location.py").write_text(SLOW)
    shop.location = "slow_location"
    shop.environment |= {"PYTHONPATH": f"{tmp_path}:{PACKAGE_ROOT}", "DAGSTER_GRPC_TIMEOUT_SECONDS": "2"}
    shop.write("shop.csv", CATALOG)
    with shop.daemon():
        (run,) = shop.until(shop.runs, "the run of the catalog")
        shop.until(lambda: told(shop, run, "Unexpected error in IPC client"), "the end of Dagster's patience")
        (tmp_path / "go").touch()
        (run,) = shop.until_runs_end(1)

    assert run.status is DagsterRunStatus.SUCCESS
    assert len(told(shop, run, "Started process for run")) == 1


def contents(store):
    return {str(path.relative_to(store)): path.read_bytes() for path in store.glob("pictures/*/*")}


@contextmanager
def away(folder):
    """Dagster's database cannot be opened inside the block: the path of its folder is a link to itself."""
    aside = folder.with_name("away")
    folder.rename(aside)
    folder.symlink_to(folder)
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


@pytest.mark.timeout(600)
def test_a_killed_catalog_run_is_started_again_and_ends_with_the_bytes_of_one_that_was_not(shop, tmp_path, monkeypatch):
    shop.write("shop.csv", CATALOG)
    with shop.daemon():
        (killed,) = shop.until(shop.runs, "the run of the catalog")
        process = shop.until(lambda: process_of(shop, killed), "the start of its process")
        shop.until(shop.pictures, "its first picture")
        assert "multiprocessing.forkserver" in " ".join(psutil.Process(process).cmdline())
        with away(shop.home / "dagster/history"):
            os.kill(process, signal.SIGKILL)
            shop.until(lambda: "cannot be looked at now" in shop.log(), "a look at the run while nothing can be told")
        left = shop.pictures()
        first, again = shop.until_runs_end(2)
        log = shop.home / "daemon.log"
        before = len(log.read_text(errors="replace"))
        with away(shop.home / "store"):
            said = shop.until(lambda: OUTAGE.findall(log.read_text(errors="replace")[before:]), "the sensor's outage")

    assert "Traceback" not in log.read_text(errors="replace")[before:], said
    assert [first.status, again.status] == [DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS]
    assert (again.parent_run_id, again.tags["dagster/retry_number"]) == (first.run_id, "1")
    assert 0 < len(left) < 2 * ROWS
    after = shop.pictures()
    assert {path: after[path] for path in left} == left
    for name, value in shop.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path / "whole"))
    monkeypatch.setenv("DAGSTER_HOME", "")
    (tmp_path / "whole/catalogs").mkdir(parents=True)
    (tmp_path / "whole/catalogs/shop.csv").write_text(CATALOG, encoding="utf-8")
    run_main_job("shop", StandInGPUEngine())
    assert contents(shop.home / "store") == contents(tmp_path / "whole/store")

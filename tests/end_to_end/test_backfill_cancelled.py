"""A run of many catalogs that is cancelled half-way, as the backfills page does it, and run again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance

from tests.random_model import write_random_model

NAMES = [f"c{number}" for number in range(6)]
ROWS = 4


class Range:
    """A home folder with catalogs, and the command that makes all of them in one run."""

    def __init__(self, folder):
        self.home = folder / "home"
        dagster = self.home / "dagster"
        for path in (dagster, self.home / "catalogs"):
            path.mkdir(parents=True)
        settings = write_random_model(folder / "model")
        self.environment = os.environ | settings | {"IMAGEGENX_HOME": str(self.home), "DAGSTER_HOME": str(dagster)}
        (dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
        self.log = (folder / "log").open("w+")
        self.instance = DagsterInstance.from_config(str(dagster))
        self.instance.add_dynamic_partitions("catalogs", NAMES)
        for name in NAMES:
            rows = "".join(f"r{row},a mug of {name} {row}\n" for row in range(ROWS))
            (self.home / f"catalogs/{name}.csv").write_text(f"id,text\n{rows}", encoding="utf-8")

    def start(self):
        command = [sys.executable, "-m", "benchmarks.backfill", NAMES[0], NAMES[-1]]
        return subprocess.Popen(command, env=self.environment, stdout=self.log, stderr=self.log)

    def output(self):
        return Path(self.log.name).read_text(encoding="utf-8")[-4000:]

    def made(self):
        return self.instance.get_materialized_partitions(AssetKey("gallery"))

    def pictures(self):
        return {path: path.stat().st_mtime_ns for path in (self.home / "store").glob("pictures/*/*")}


@pytest.mark.timeout(400)
def test_a_cancelled_run_keeps_what_is_done_and_the_next_makes_nothing_twice(tmp_path):
    catalogs = Range(tmp_path)
    process = catalogs.start()
    while len(catalogs.made()) < 2:
        assert process.poll() is None, catalogs.output()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    done, pictures = catalogs.made(), catalogs.pictures()
    assert 2 <= len(done) < len(NAMES)

    assert catalogs.start().wait(200) == 0, catalogs.output()

    assert catalogs.made() == set(NAMES)
    after = catalogs.pictures()
    assert {path: after[path] for path in pictures} == pictures
    assert len(after) == len(NAMES) * ROWS * 2  # pictures and thumbnails
    catalogs.instance.dispose()
    catalogs.log.close()

"""`imagegenx demo` killed at several moments of one catalog's run, and started again each time.

What generates is a stand-in, except where the demo is interrupted; all stages after it are real.
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from dagster import DagsterRunStatus

from io_managers.image_set import Status, read_image_set
from resources.local_store import LocalObjectStore
from resources.object_store import TEMP_FOLDER
from tests.support import quick_demo
from tests.support.dagster_daemon import open_instance
from tests.support.forked import Forked
from tests.support.random_model import write_random_model

TOOL = Path(sys.executable).with_name("imagegenx")
ROWS = 24
UPSCALED = WATERMARKED = 16
KILLS = 5
ASSETS = ("generated_images", "upscaled_images", "watermarked_images", "thumbnails")


class Demo:
    """A home folder with a catalog of which every row is changed by some later stage, and the demo over it."""

    def __init__(self, folder, model=None):
        self.home, self.said, self.errors = (folder / name for name in ("home", "said", "errors"))
        self.store = self.home / "store"
        self.model = model or write_random_model(folder / "model")
        # Signatures differ from one writing to the next, and bytes are compared here.
        settings = {"IMAGEGENX_MARKS__POLICY": "off", "IMAGEGENX_PICTURES__THUMBNAIL_PX": "32"}
        self.environment = os.environ | self.model | settings | {"IMAGEGENX_HOME": str(self.home)}
        (self.home / "catalogs").mkdir(parents=True)
        changes = ["2x,", ",春日", "2x,春日"]
        lines = [f"r{row},mug number {row},{changes[row % 3]},webp" for row in range(ROWS)]
        header = "id,text,super_resolution,watermark_text,format"
        (self.home / "catalogs/shop.csv").write_text("\n".join([header, *lines]), encoding="utf-8")

    def start(self):
        with patch.dict(os.environ, self.environment):
            return Forked(quick_demo.main, "shop", self.said, self.errors)

    def finish(self):
        """Run the demo to its end."""
        assert self.start().wait() == 0, self.errors.read_text()

    def kill_when(self, moment):
        """Start the demo and kill it, without warning, as soon as `moment()` holds."""
        process = self.start()
        while not moment():
            assert process.poll() is None, f"the run ended before its moment:\n{self.errors.read_text()}"
            time.sleep(0.01)
        process.kill()
        process.wait()

    def made(self):
        """How many pictures are stored."""
        return sum(1 for _ in self.store.glob("pictures/*/*"))

    def pictures(self):
        """Every stored picture and what tells a second writing of it: its inode and time of change."""
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in self.store.glob("pictures/*/*")}

    def files(self, pattern):
        """The content of stored files by key."""
        files = (path for path in self.store.glob(pattern) if path.is_file())
        return {str(path.relative_to(self.store)): path.read_bytes() for path in files}

    def has(self, *parts):
        return self.store.joinpath(*parts).exists()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return Demo(tmp_path_factory.mktemp("killed"))


@pytest.mark.timeout(600)
def test_a_demo_killed_in_every_stage_finishes_and_makes_no_picture_twice(demo):
    moments = {
        "before the first picture": lambda: demo.has("tables/prompt_catalog/shop.parquet"),
        "among the generated pictures": lambda: demo.made() >= 5,
        "among the upscaled pictures": lambda: demo.made() >= ROWS + 3,
        "among the thumbnails": lambda: demo.made() >= ROWS + UPSCALED + WATERMARKED + 3,
        "before the gallery": lambda: demo.has("manifests/thumbnails/shop.parquet"),
    }
    assert len(moments) == KILLS
    seen = {}
    for name, moment in moments.items():
        demo.kill_when(moment)
        now = demo.pictures()
        assert {path: now[path] for path in seen} == seen, f"a picture was made again after the kill before '{name}'"
        seen = now
    assert not demo.has("galleries/shop/index.html")

    demo.finish()

    assert demo.said.read_text().splitlines()[0] == f"summary: 0 generated, {ROWS} reused, 0 failed"
    assert {path: demo.pictures()[path] for path in seen} == seen


def test_nothing_is_left_over_and_every_manifest_tells_the_truth(demo):
    store = LocalObjectStore(demo.store)
    named = {}
    for asset in ASSETS:
        rows = list(read_image_set(store, asset, "shop").rows())
        assert [row.row_id for row in rows] == [f"r{row}" for row in range(ROWS)]
        assert all(row.status is not Status.FAILED for row in rows)
        named |= {row.key: row.digest for row in rows}

    stored = {one.key for one in store.list("pictures/")}
    assert stored == set(named)
    assert all(hashlib.sha256(store.get(key)).hexdigest() == digest for key, digest in named.items())
    registered = b"".join(store.get(one.key) for one in store.list("registry/catalogs/")).decode()
    inputs = {one.key for one in store.list("inputs/")}
    assert all(key.removeprefix("inputs/") in registered for key in inputs)
    others = {one.key for one in store.list() if not one.key.startswith("registry/")} - stored - inputs
    assert others == {
        "tables/prompt_catalog/shop.parquet",
        *(f"manifests/{asset}/shop.parquet" for asset in ASSETS),
        "galleries/shop/index.html",
        "galleries/shop/contact_sheet.png",
        "releases/shop.json",
    }
    assert not [path for path in demo.store.joinpath(TEMP_FOLDER).rglob("*") if path.is_file()]


@pytest.mark.timeout(600)
def test_everything_stored_is_the_same_as_after_a_run_that_nothing_interrupted(demo, tmp_path):
    whole = Demo(tmp_path, demo.model)
    whole.finish()

    for pattern in ("pictures/*/*", "galleries/**/*"):
        assert undated(demo.files(pattern)) == undated(whole.files(pattern)) != {}
    for asset in ASSETS:
        killed_rows, rows = (
            read_image_set(LocalObjectStore(one.store), asset, "shop").manifest.drop(["status", "seconds"])
            for one in (demo, whole)
        )
        assert killed_rows.equals(rows)


def undated(files):
    """The files without the minute in which a gallery's page was made."""
    return {path: re.sub(rb"made \d{4}-\d\d-\d\d \d\d:\d\d UTC", b"", data) for path, data in files.items()}


def test_dagster_knows_that_the_killed_runs_failed(demo):
    with open_instance(demo.home / "dagster") as instance:
        statuses = [run.status for run in instance.get_runs()]

    assert statuses == [DagsterRunStatus.SUCCESS, *[DagsterRunStatus.FAILURE] * KILLS]


def test_an_interrupted_demo_says_that_it_can_go_on(tmp_path):
    demo = Demo(tmp_path)
    command, pipes = [TOOL, "demo", "--catalog", "shop"], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=demo.environment, text=True, **pipes)
    while not demo.has("tables/prompt_catalog/shop.parquet"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)

    output, error = process.communicate()

    assert (process.returncode, output) == (130, "")
    assert error.splitlines()[-1] == "interrupted. Start it again: it goes on where it stopped."
    assert "Traceback" not in error
    assert not demo.has("manifests/generated_images/shop.parquet")

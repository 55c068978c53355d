"""`imagegenx store` beside real runs of the main job."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.stand_in import StandInGPUEngine, run_main_job, write_stand_in_model
from configs.settings import load_settings
from io_managers.image_set import Status, read_image_set
from resources.open_store import open_store
from tests.support.stored_catalogs import keys_of, make_old, store_orphans

TOOL = Path(sys.executable).with_name("imagegenx")
ASSETS = ("generated_images", "upscaled_images", "watermarked_images", "thumbnails")


def imagegenx(*words):
    """Run a command and return its exit status and the JSON it prints."""
    done = subprocess.run([TOOL, *words, "--json"], capture_output=True, text=True, timeout=300)
    assert not done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def write_catalog(home, rows):
    (home / "catalogs").mkdir(parents=True, exist_ok=True)
    lines = ["id,text,resolution,format", *(f"r{row},mug number {row},64x64,png" for row in range(rows))]
    (home / "catalogs/shop.csv").write_text("\n".join(lines), encoding="utf-8")


def named(store):
    """Key and digest of every picture that a manifest names."""
    rows = [row for asset in ASSETS for row in read_image_set(store, asset, "shop").rows()]
    assert all(row.status is not Status.FAILED for row in rows)
    return {row.key: row.digest for row in rows}


def digests(store, prefix="pictures/"):
    return {key: hashlib.sha256(store.get(key)).hexdigest() for key in keys_of(store, prefix)}


@pytest.fixture
def home(tmp_path, monkeypatch):
    settings = write_stand_in_model(tmp_path / "models") | {
        "DAGSTER_HOME": "",
        "IMAGEGENX_HOME": str(tmp_path / "home"),
        "IMAGEGENX_PICTURES__THUMBNAIL_PX": "32",
        "IMAGEGENX_MARKS__POLICY": "off",  # signatures differ from one writing to the next, and bytes are compared
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


@pytest.mark.timeout(600)
def test_gc_removes_exactly_two_hundred_orphans_while_a_run_reuses_others(home, tmp_path):
    write_catalog(home, 20)
    run_main_job("shop", StandInGPUEngine())
    store = open_store(load_settings().store)
    # Pictures of a catalog that lost its manifests are orphans themselves, until the run below reuses them.
    reused = {row.key for row in read_image_set(store, "generated_images", "shop").rows()}
    for key in keys_of(store, "manifests/"):
        store.delete(key)
    before = keys_of(store, "pictures/")
    orphans = store_orphans(store, 200)
    make_old(store, orphans | reused)
    write_catalog(home, 25)
    with subprocess.Popen([sys.executable, "-m", "tests.support.paused_run", "shop", str(tmp_path)]) as run:
        limit = time.monotonic() + 240
        while not (tmp_path / "painting").exists():
            assert run.poll() is None, "the run ended before it was to wait"
            assert time.monotonic() < limit
            time.sleep(0.02)

        _, planned = imagegenx("store", "gc", "--dry-run")
        status, done = imagegenx("store", "gc")
        left = keys_of(store, "pictures/")
        (tmp_path / "go").touch()
        assert run.wait(300) == 0

    assert (status, done["active_runs"]) == (0, 1)
    assert planned["removed"] == done["removed"] == {"pictures": {"objects": 200, "bytes": 200 * len(b"orphan")}}
    assert before <= left
    assert not orphans & left
    rows = read_image_set(store, "generated_images", "shop").rows()
    assert {row.key for row in rows if row.status is Status.REUSED} == reused
    assert digests(store) == named(store)
    assert imagegenx("store", "verify")[0] == 0


@pytest.mark.timeout(600)
def test_five_changed_and_five_deleted_of_two_hundred_are_found_and_only_they_are_made_again(home):
    write_catalog(home, 100)
    run_main_job("shop", StandInGPUEngine())
    store = open_store(load_settings().store)
    whole = named(store)
    assert len(whole) == 200
    deleted, changed = damage(store, sorted(whole), 5)
    times = {key: (store.root / key).stat().st_mtime_ns for key in keys_of(store, "pictures/") - changed}

    status, found = imagegenx("store", "verify")
    healed_status, healed = imagegenx("store", "verify", "--heal")
    run_main_job("shop", StandInGPUEngine())

    assert (status, healed_status, found["pictures"]) == (1, 1, 200)
    seen = {(one["key"], one["what"]) for one in found["damages"]}
    assert seen == {*((key, "missing") for key in deleted), *((key, "changed") for key in changed)}
    assert healed["moved"] == 5
    rows = {row.key: row.row_id for asset in ASSETS for row in read_image_set(store, asset, "shop").rows()}
    assert found["catalogs"] == {"shop": sorted({rows[key] for key in deleted | changed})}
    assert digests(store) == named(store) == whole
    assert {key: (store.root / key).stat().st_mtime_ns for key in times} == times
    assert imagegenx("store", "verify") == (0, {**found, "damages": [], "catalogs": {}})


def damage(store, keys, count):
    """Delete some pictures and change others; returns both sets."""
    deleted, changed = set(keys[:count]), set(keys[count : 2 * count])
    for key in deleted:
        store.delete(key)
    for key in changed:
        store.put(key, store.get(key)[:-1] + b"!", content_type="image/png")
    return deleted, changed


@pytest.mark.timeout(600)
def test_the_same_on_an_s3_service(home, monkeypatch, s3_server):
    write_catalog(home, 8)
    for name, value in s3_server.own_bucket().environment().items():
        monkeypatch.setenv(name, value)
    run_main_job("shop", StandInGPUEngine())
    store = open_store(load_settings().store)
    whole = named(store)
    deleted, changed = damage(store, sorted(whole), 2)
    orphans = store_orphans(store, 10)
    monkeypatch.setenv("IMAGEGENX_RETENTION__ORPHAN_HOURS", "0")
    time.sleep(1.1)  # S3 tells whole seconds, and the collector removes nothing of the second it lives in

    _, found = imagegenx("store", "verify", "--heal")
    _, done = imagegenx("store", "gc")
    run_main_job("shop", StandInGPUEngine())

    assert {one["key"] for one in found["damages"]} == deleted | changed
    assert done["removed"] == {"pictures": {"objects": 10, "bytes": 10 * len(b"orphan")}}
    assert not orphans & keys_of(store)
    assert digests(store) == named(store) == whole

"""The nightly collection of the store's garbage."""

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from configs.settings import load_settings
from imagegenx_assets.definitions import RESOURCES
from imagegenx_assets.upkeep import store_upkeep
from ops.garbage_collection import active_runs, collect_for
from ops.store_life import collection_lock
from ops.store_life.collection_lock import LOCKS, CollectionUnderWayError, only_collection
from resources.audit import open_audit
from resources.dagster_names import STORE_GARBAGE
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from resources.open_store import open_store
from tests.support.stored_catalogs import keys_of, make_old, store_catalog, store_orphans
from tests.support.waiting import wait_until


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    return open_store(load_settings().store)


@pytest.fixture
def instance():
    with DagsterInstance.ephemeral() as opened:
        yield opened


def collect(instance):
    resources = {name: RESOURCES[name] for name in ("settings", "object_store")}
    return store_upkeep.execute_in_process(instance=instance, resources=resources)


def test_what_nothing_refers_to_goes_by_itself_and_the_run_says_how_much(store, instance):
    rows = store_catalog(store, "shop", range(3))
    orphans = store_orphans(store, 5)
    make_old(store, keys_of(store, "pictures/"))

    assert collect(instance).success

    assert keys_of(store, "pictures/") == {row.key for row in rows}
    assert not orphans & keys_of(store, "pictures/")
    told = instance.get_latest_materialization_event(AssetKey(STORE_GARBAGE)).asset_materialization.metadata
    assert (told["objects"].value, told["removed: pictures"].value) == (5, "5 objects, 30 bytes")


def test_a_collection_leaves_it_to_the_one_that_is_under_way(store, instance):
    orphans = store_orphans(store, 2)
    make_old(store, orphans)

    with only_collection(store):
        assert collect(instance).success
        with pytest.raises(CollectionUnderWayError, match="collects the garbage of this store already, since 2"):
            collect_for(instance, load_settings(), store)
        assert collect_for(instance, load_settings(), store, dry_run=True)[0].objects == 2
    assert orphans <= keys_of(store)

    assert collect(instance).success
    assert not orphans & keys_of(store)
    assert keys_of(store, "gc/") == set()


def test_the_lock_of_a_killed_collection_is_void_after_a_while(store, instance, monkeypatch):
    store.put(f"{LOCKS}dead.json", b'{"who": "ann", "since": "2026"}', content_type="application/json")
    with pytest.raises(CollectionUnderWayError):
        collect_for(instance, load_settings(), store)
    make_old(store, [f"{LOCKS}dead.json"])
    collect_for(instance, load_settings(), store)
    assert keys_of(store, "gc/") == set()


def test_a_collection_renews_its_lock(store, monkeypatch):
    monkeypatch.setattr(collection_lock, "RENEWED_EVERY_S", 0.02)
    with only_collection(store):
        (lock,) = store.list(LOCKS)
        wait_until(lambda: next(iter(store.list(LOCKS))).written_s > lock.written_s)


def test_a_collection_is_in_the_audit_log(store, instance):
    make_old(store, store_orphans(store, 2))
    collect(instance)
    begun, done = open_audit(load_settings()).read()
    assert (begun["event"], begun["state"]) == ("garbage.collected", "begun")
    assert (done["event"], done["state"], done["reasons"]) == ("garbage.collected", "done", {"pictures": 2})


@pytest.mark.parametrize("end", [StoreUnavailableError("no answer in time."), KeyboardInterrupt()])
def test_a_collection_that_is_broken_off_is_in_the_audit_log_with_what_is_gone(store, instance, monkeypatch, end):
    store.put("quarantine/pictures/aa/a.png", b"red", content_type="image/png")
    make_old(store, [*store_orphans(store, 2), "quarantine/pictures/aa/a.png"], days=40)

    def ends(self, key):
        if key.startswith("pictures/"):
            raise end
        return delete(self, key)

    delete = LocalObjectStore.delete
    monkeypatch.setattr(LocalObjectStore, "delete", ends)
    with pytest.raises(type(end)):
        collect_for(instance, load_settings(), store)
    begun, broken = open_audit(load_settings()).read()
    assert (begun["who"], begun["state"]) == (broken["who"], "begun")
    assert (broken["state"], broken["reasons"]) == ("broken off", {"quarantine": 1, "pictures": 0})


def test_a_collection_that_is_refused_is_none(store, instance):
    with only_collection(store), pytest.raises(CollectionUnderWayError):
        collect_for(instance, load_settings(), store)
    assert list(open_audit(load_settings()).read()) == []


def test_serving_runs_however_long_keep_nothing_from_being_collected(store, instance):
    create_run_for_test(instance, job_name="serving_run", status=DagsterRunStatus.STARTED)
    assert active_runs(instance) == (None, 0)
    create_run_for_test(instance, job_name="catalog_pictures", status=DagsterRunStatus.STARTED)
    assert active_runs(instance)[1] == 1

import json

import pytest

from configs.settings import load_settings
from resources.open_store import open_store
from tests.support.stored_catalogs import keys_of, make_old, store_catalog, store_orphans


@pytest.fixture
def store(home):
    return open_store(load_settings().store)


def test_gc_says_what_went_and_why(imagegenx, store):
    make_old(store, store_orphans(store, 3))

    planned = imagegenx("store", "gc", "--dry-run")
    done = imagegenx("store", "gc")

    assert planned == (0, "  pictures: 3 objects, 18 bytes\nwould remove 3 objects, 18 bytes\n", "")
    assert done == (0, "  pictures: 3 objects, 18 bytes\nremoved 3 objects, 18 bytes\n", "")


def test_gc_as_json(imagegenx, store):
    make_old(store, store_orphans(store, 2))

    _, output, _ = imagegenx("store", "gc", "--json")

    assert json.loads(output) == {
        "dry_run": False,
        "objects": 2,
        "bytes": 12,
        "spared": 0,
        "active_runs": 0,
        "removed": {"pictures": {"objects": 2, "bytes": 12}},
    }


def test_what_a_killed_registration_left_in_the_catalog_folder_holds_up_no_collection(imagegenx, store):
    folder = load_settings().catalog_folder
    folder.mkdir(parents=True)
    (folder / ".copying-x1y2").write_text("id,te", encoding="utf-8")
    make_old(store, store_orphans(store, 2))

    assert imagegenx("store", "gc")[:2] == (0, "  pictures: 2 objects, 12 bytes\nremoved 2 objects, 12 bytes\n")


def test_gc_refuses_to_remove_anything_while_the_configured_redis_is_down(imagegenx, store, monkeypatch):
    make_old(store, store_orphans(store, 2))
    monkeypatch.setenv("IMAGEGENX_QUEUE__URL", "redis://127.0.0.1:1/0")

    status, output, error = imagegenx("store", "gc")

    assert (status, output) == (1, "")
    assert error.startswith("error: Redis at 127.0.0.1:1 cannot be used now")
    assert len(keys_of(store, "pictures/")) == 2


def test_verify_names_the_rows_and_what_to_do(imagegenx, store):
    lost, changed, _ = store_catalog(store, "shop", range(3))
    store.delete(lost.key)
    store.put(changed.key, b"scribble", content_type="image/webp")

    status, output, _ = imagegenx("store", "verify")
    healed_status, healed, _ = imagegenx("store", "verify", "shop", "--heal")

    assert (status, healed_status) == (1, 1)
    assert f"missing: {lost.key}: generated_images of 'shop', row '0'" in output
    assert f"changed: {changed.key}: generated_images of 'shop', row '1'" in output
    assert "3 pictures in 1 manifests: " in output
    assert "Run it again with --heal" in output
    assert "moved 1 to quarantine/damaged/." in healed
    assert healed.endswith("  imagegenx demo --catalog shop    # 2 rows\n")
    events = json.loads(imagegenx("audit", "--event", "damage.healed", "--json")[1])
    assert [(event["state"], event.get("moved")) for event in events] == [("begun", None), ("done", 1)]


def test_verify_of_a_sound_store_succeeds(imagegenx, store):
    store_catalog(store, "shop", range(3))

    assert imagegenx("store", "verify") == (0, "3 pictures in 1 manifests: all there and unchanged.\n", "")

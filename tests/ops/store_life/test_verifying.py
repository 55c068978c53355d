import pytest

from ops.editions import edition_folder
from ops.store_life.verifying import What, heal, verify_store
from resources.local_store import LocalObjectStore
from tests.support.stored_catalogs import keys_of, store_catalog


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_missing_and_changed_pictures_are_found_with_every_row_that_names_them(kind, request):
    store = request.getfixturevalue(f"{kind}_store")
    rows = store_catalog(store, "shop", range(6))
    store_catalog(store, "other", [0, 7], asset="thumbnails")
    store.delete(rows[0].key)
    store.put(rows[1].key, b"scribble", content_type="image/webp")

    found = verify_store(store)

    assert (found.manifests, found.pictures) == (2, 7)
    damages = {damage.key: damage for damage in found.damages}
    assert {key: damage.what for key, damage in damages.items()} == {
        rows[0].key: What.MISSING,
        rows[1].key: What.CHANGED,
    }
    assert [(row.catalog, row.asset, row.row_id) for row in damages[rows[0].key].rows] == [
        ("other", "thumbnails", "0"),
        ("shop", "generated_images", "0"),
    ]
    assert found.catalogs == {"other": {"0"}, "shop": {"0", "1"}}


def test_healing_moves_changed_pictures_aside_and_nothing_else(local_store):
    rows = store_catalog(local_store, "shop", range(4))
    local_store.delete(rows[0].key)
    local_store.put(rows[1].key, b"scribble", content_type="image/webp")
    before = keys_of(local_store)

    found = verify_store(local_store)
    heal(local_store, found)

    assert found.moved == 1
    assert keys_of(local_store) == before - {rows[1].key} | {f"quarantine/damaged/{rows[1].key}"}
    assert local_store.get(f"quarantine/damaged/{rows[1].key}") == b"scribble"
    assert [damage.what for damage in verify_store(local_store).damages] == [What.MISSING, What.MISSING]


def test_healing_leaves_what_a_run_has_made_anew_since(local_store):
    (row,) = store_catalog(local_store, "shop", [1])
    whole, manifest = local_store.get(row.key), "manifests/generated_images/shop.parquet"
    table = local_store.get(manifest)
    local_store.put(row.key, b"scribble", content_type="image/webp")
    pictures = verify_store(local_store)
    local_store.put(manifest, b"scribble", content_type="x/parquet")
    manifests = verify_store(local_store)

    local_store.put(row.key, whole, content_type="image/webp")
    local_store.put(manifest, table, content_type="x/parquet")

    for found in (pictures, manifests):
        heal(local_store, found)
        assert (len(found.damages), found.moved) == (1, 0)
    assert verify_store(local_store).damages == []
    assert keys_of(local_store, "quarantine/") == set()


def test_healing_leaves_what_a_run_makes_anew_while_it_copies(local_store):
    (row,) = store_catalog(local_store, "shop", [1])
    whole = local_store.get(row.key)
    local_store.put(row.key, b"scribble", content_type="image/webp")

    class MadeAnew(LocalObjectStore):
        def put(self, key, data, *, content_type):
            if key.startswith("quarantine/"):
                local_store.put(row.key, whole, content_type="image/webp")
            return super().put(key, data, content_type=content_type)

    found = verify_store(local_store)
    heal(MadeAnew(local_store.root), found)
    assert found.moved == 0
    assert verify_store(local_store).damages == []


def test_a_picture_cut_short_is_changed(local_store):
    (row,) = store_catalog(local_store, "shop", [1])
    local_store.put(row.key, local_store.get(row.key)[:-1], content_type="image/webp")

    assert [damage.what for damage in verify_store(local_store).damages] == [What.CHANGED]


def test_a_damaged_manifest_is_found_and_moved_aside(local_store):
    store_catalog(local_store, "shop", [1])
    manifest = "manifests/generated_images/shop.parquet"
    local_store.put(manifest, b"scribble", content_type="x/parquet")

    found = verify_store(local_store)
    heal(local_store, found)

    assert [(damage.key, damage.what) for damage in found.damages] == [(manifest, What.UNREADABLE)]
    assert found.catalogs == {"shop": {"*"}}
    assert verify_store(local_store).damages == []
    store_catalog(local_store, "shop", [1])


def test_only_the_named_catalogs_are_looked_at(local_store):
    (lost,) = store_catalog(local_store, "shop", [1])
    store_catalog(local_store, "other", [2])
    local_store.delete(lost.key)

    assert verify_store(local_store, {"other"}).damages == []
    assert len(verify_store(local_store, {"shop"}).damages) == 1


def test_a_picture_that_only_a_kept_edition_names_is_reported_without_rows(local_store):
    (row,) = store_catalog(local_store, "shop", [1])
    manifest = "manifests/generated_images/shop.parquet"
    kept = f"{edition_folder('shop', 0)}generated_images.parquet"
    local_store.put(kept, local_store.get(manifest), content_type="x/parquet")
    local_store.delete(manifest)
    local_store.delete(row.key)

    (damage,) = verify_store(local_store).damages

    assert (damage.key, damage.rows) == (row.key, ())

import io
import threading
import time

import pandas as pd
import pytest

from configs.lifecycle_settings import RetentionSettings
from io_managers.reuse import ANNOUNCEMENTS, Reuse, announced, announced_keys
from io_managers.table_io_manager import table_key
from ops.catalog.registered import RegisteredCatalogs
from ops.editions import edition_folder, made_edition
from ops.store_life.collecting import collect_garbage
from ops.store_life.references import UnreadableManifestError
from ops.store_life.retention import Retention
from ops.store_life.tasks import TaskReferences
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from tests.support.catalog_writer import REGISTRY
from tests.support.stored_catalogs import DAY_S, keys_of, make_old, store_catalog, store_orphans

HOUR_S = 3600


def collect(store, *, in_s=0.0, active_since_s=None, registered=("shop",), tasks=None, **options):
    """Collect garbage as if it were `in_s` from now."""
    settings = RetentionSettings.model_validate(options.pop("settings", {}))
    retention = Retention(settings, time.time() + in_s, active_since_s)
    catalogs = registered if callable(registered) else lambda: set(registered)
    return collect_garbage(store, retention, registered=catalogs, tasks=tasks or TaskReferences(), **options)


def objects(done):
    return {reason: gone.objects for reason, gone in done.removed.items()}


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_exactly_the_orphans_go(kind, request):
    store = request.getfixturevalue(f"{kind}_store")
    kept = {row.key for row in store_catalog(store, "shop", range(6))}
    store_orphans(store, 40 if kind == "local" else 8)
    others = keys_of(store) - keys_of(store, "pictures/")

    done = collect(store, in_s=2 * DAY_S)

    assert objects(done) == {"pictures": 40 if kind == "local" else 8}
    assert keys_of(store) == kept | others


def test_a_dry_run_reports_the_same_and_changes_nothing(local_store):
    store_catalog(local_store, "shop", range(3))
    store_orphans(local_store, 5)
    before = keys_of(local_store)

    planned = collect(local_store, in_s=2 * DAY_S, dry_run=True)
    assert keys_of(local_store) == before

    assert objects(planned) == objects(collect(local_store, in_s=2 * DAY_S)) == {"pictures": 5}


def test_what_is_young_stays(local_store):
    store_orphans(local_store, 5)

    assert collect(local_store, in_s=23 * HOUR_S).objects == 0
    assert collect(local_store, in_s=25 * HOUR_S).objects == 5


def test_what_was_written_since_a_day_before_the_oldest_active_run_stays(local_store):
    store_orphans(local_store, 5)
    soon_s = time.time() + 2 * HOUR_S

    assert collect(local_store, in_s=100 * DAY_S, active_since_s=soon_s).objects == 0
    assert collect(local_store, in_s=100 * DAY_S, active_since_s=soon_s + 23 * HOUR_S).objects == 5


def test_objects_of_others_are_left_alone(local_store):
    local_store.put("reports/2024.pdf", b"theirs", content_type="application/pdf")
    local_store.put("2024", b"theirs", content_type="text/plain")

    assert collect(local_store, in_s=1000 * DAY_S).objects == 0
    assert keys_of(local_store) == {"reports/2024.pdf", "2024"}


def test_a_picture_that_a_catalog_names_as_input_stays(local_store, tmp_path):
    keys = sorted(store_orphans(local_store, 4))
    local_store.put("uploads/20240101/a.png", b"", content_type="image/png")
    table = pd.DataFrame({"id": ["a"], "image": [keys[0]], "mask": [None]})
    table.to_parquet(tmp_path / "table.parquet")
    local_store.put(
        table_key("prompt_catalog", "shop"), (tmp_path / "table.parquet").read_bytes(), content_type="x/parquet"
    )
    (tmp_path / "new.csv").write_text(f"text,image,controls\nmug,{keys[1]},\ncup,,uploads/20240101/a.png:0.5\n")
    catalogs = RegisteredCatalogs(local_store, renew_after_s=3600)
    catalogs.register(tmp_path / "new.csv", REGISTRY)

    collect(local_store, in_s=100 * DAY_S, catalogs=catalogs)

    assert keys_of(local_store, "pictures/") == set(keys[:2])
    assert keys_of(local_store, "uploads/") == {"uploads/20240101/a.png"}


def test_what_catalogs_are_made_of_stays_while_they_are_registered_and_a_while_after(local_store, tmp_path):
    catalogs = RegisteredCatalogs(local_store, renew_after_s=3600)
    (tmp_path / "shoe.png").write_bytes(b"one")
    for name, text in (("shop", "id,text,image\na,a mug,shoe.png\n"), ("old", "text\na hat\n")):
        (tmp_path / f"{name}.csv").write_text(text)
        catalogs.register(tmp_path / f"{name}.csv", REGISTRY)
    catalogs.retire("old")
    local_store.put(f"inputs/{'0' * 64}", b"of a run that has ended", content_type="image/png")

    assert objects(collect(local_store, in_s=29 * DAY_S, catalogs=catalogs)) == {"input pictures of catalogs": 1}
    assert objects(collect(local_store, in_s=31 * DAY_S, catalogs=catalogs)) == {"input pictures of catalogs": 1}
    assert catalogs.retired_names() == ["old"]
    assert keys_of(local_store, "inputs/") == catalogs.get("shop").keys


def test_replaced_pictures_stay_for_superseded_days_so_that_going_back_costs_nothing(local_store):
    first = store_catalog(local_store, "shop", range(4))
    store_catalog(local_store, "shop", range(2))
    replaced = {row.key for row in first[2:]}

    assert collect(local_store, in_s=6 * DAY_S).objects == 0
    assert replaced <= keys_of(local_store)
    done = collect(local_store, in_s=8 * DAY_S)

    assert objects(done) == {"superseded manifests": 1, "pictures": 2}
    assert not replaced & keys_of(local_store)


def test_a_catalog_that_only_grows_leaves_no_superseded_manifest(local_store):
    store_catalog(local_store, "shop", range(2))
    store_catalog(local_store, "shop", range(4))

    assert keys_of(local_store, "superseded/") == set()


def test_a_retired_catalog_goes_when_it_has_been_retired_for_retired_days(local_store):
    store_catalog(local_store, "shop", range(2))
    store_catalog(local_store, "old", range(10, 12))
    local_store.put("galleries/old/index.html", b"", content_type="text/html")
    local_store.put("releases/old.json", b"", content_type="application/json")

    assert collect(local_store, in_s=2 * DAY_S).objects == 0
    assert collect(local_store, in_s=31 * DAY_S).objects == 0
    done = collect(local_store, in_s=33 * DAY_S)

    assert objects(done) == {"retired catalogs": 3, "pictures": 2}
    assert not [key for key in keys_of(local_store) if "old" in key]
    assert len(keys_of(local_store, "pictures/")) == 2


def test_a_catalog_that_is_registered_again_is_no_longer_retired(local_store):
    store_catalog(local_store, "old", range(2))
    collect(local_store, in_s=DAY_S)
    collect(local_store, in_s=2 * DAY_S, registered=["shop", "old"])

    collect(local_store, in_s=40 * DAY_S)
    assert collect(local_store, in_s=60 * DAY_S).objects == 0


class ComesBack(LocalObjectStore):
    """A store of which a retired catalog is registered again at the first write or removal of a kind of object."""

    def __init__(self, root, prefix, then=lambda store: None):
        super().__init__(root)
        self.registered, self.prefix, self.then = {"shop"}, prefix, then

    def put(self, key, data, *, content_type):
        written = super().put(key, data, content_type=content_type)
        self._look(key)
        return written

    def delete(self, key):
        super().delete(key)
        self._look(key)

    def _look(self, key):
        if key.startswith(self.prefix) and "old" not in self.registered:
            self.registered.add("old")
            self.then(self)


@pytest.fixture
def about_to_go(local_store):
    """The keys of a catalog that has been retired for long enough, and of its pictures."""
    store_catalog(local_store, "shop", range(2))
    kept = keys_of(local_store)
    store_catalog(local_store, "old", range(10, 12))
    theirs = keys_of(local_store) - kept
    collect(local_store, in_s=DAY_S)
    return theirs


def test_a_catalog_that_is_registered_again_before_anything_of_it_goes_stays_whole(local_store, about_to_go):
    store = ComesBack(local_store.root, ANNOUNCEMENTS)

    done = collect(store, in_s=33 * DAY_S, registered=lambda: set(store.registered))

    assert objects(done) == {"retired catalogs": 0}
    assert about_to_go <= keys_of(local_store)


def test_a_catalog_that_is_registered_again_while_it_goes_keeps_the_pictures_that_its_next_run_names(
    local_store, about_to_go
):
    """The run has read the old manifest, so it reuses those pictures as they are; or its new manifest names others."""
    (orphan,) = store_orphans(local_store, 1)
    make_old(local_store, [orphan])

    def write_manifest(store):
        table = pd.DataFrame({"id": ["a"], "key": [orphan]})
        data = io.BytesIO()
        table.to_parquet(data)
        store.put("manifests/thumbnails/old.parquet", data.getvalue(), content_type="x/parquet")

    store = ComesBack(local_store.root, "manifests/generated_images/old", write_manifest)

    done = collect(store, in_s=33 * DAY_S, registered=lambda: set(store.registered))

    assert objects(done)["retired catalogs"] == 1
    assert {key for key in about_to_go if key.startswith("pictures/")} | {orphan} <= keys_of(local_store)


def test_a_damaged_manifest_of_a_retired_catalog_goes_with_it(local_store, about_to_go):
    local_store.put("manifests/thumbnails/old.parquet", b"scribble", content_type="x/parquet")

    done = collect(local_store, in_s=33 * DAY_S)

    assert objects(done) == {"retired catalogs": 2, "pictures": 2}


def test_a_catalog_that_somebody_still_makes_is_not_retired_whatever_this_instance_knows(local_store):
    note = "gc/retired/theirs.json"
    local_store.put(note, b'{"seen_s": 1}', content_type="application/json")
    store_catalog(local_store, "theirs", range(2))

    assert collect(local_store, in_s=2 * DAY_S).objects == 0
    assert collect(local_store, in_s=31 * DAY_S).objects == 0
    assert len(keys_of(local_store, "pictures/")) == 2


def test_with_nothing_registered_at_all_no_catalog_counts_as_retired(local_store):
    store_catalog(local_store, "shop", range(2))

    collect(local_store, in_s=DAY_S, registered=[])
    assert collect(local_store, in_s=100 * DAY_S, registered=[]).objects == 0


def edition(store, number, seeds):
    """A kept edition: its manifest is a copy, and its pictures are in no other."""
    row_keys = {row.key for row in store_catalog(store, "copy", seeds)}
    manifest = f"{edition_folder('shop', number)}generated_images.parquet"
    store.put(manifest, store.get("manifests/generated_images/copy.parquet"), content_type="x/parquet")
    store.delete("manifests/generated_images/copy.parquet")
    for key in keys_of(store, "superseded/"):
        store.delete(key)
    return row_keys


def test_kept_editions_keep_their_pictures_and_go_beyond_retention(local_store):
    store_catalog(local_store, "shop", [99])
    oldest, newer = edition(local_store, 0, range(3)), edition(local_store, 1, range(10, 13))
    local_store.put("editions/shop@wanted.json", b'{"edition": 2, "asked_by": "me"}', content_type="application/json")
    local_store.put("editions/shop@made.json", b'{"edition": 2, "kept": [0, 1]}', content_type="application/json")

    assert collect(local_store, in_s=10 * DAY_S, settings={"editions": 3}).objects == 0
    done = collect(local_store, in_s=10 * DAY_S, settings={"editions": 2})

    assert objects(done) == {"editions beyond retention": 1, "pictures": 3}
    assert not oldest & keys_of(local_store)
    assert newer <= keys_of(local_store)
    assert made_edition(local_store, "shop").kept == (1,)


def test_quarantine_is_kept_for_quarantine_days(local_store):
    local_store.put("quarantine/pictures/aa/x.png", b"", content_type="image/png")

    assert collect(local_store, in_s=29 * DAY_S).objects == 0
    assert objects(collect(local_store, in_s=31 * DAY_S)) == {"quarantine": 1}


def test_on_demand_pictures_go_after_on_demand_days_unless_a_task_has_them(local_store):
    for key in ("20240101/img_a_64x64.png", "20240101/img_b_64x64.png", "20240101/img_b~2_64x64.webp"):
        local_store.put(key, b"", content_type="image/png")
    today = time.strftime("%Y%m%d/img_c_64x64.png", time.gmtime())
    local_store.put(today, b"", content_type="image/png")

    done = collect(local_store, tasks=TaskReferences(ids=frozenset(["img_b"])))

    assert objects(done) == {"on-demand pictures": 1}
    assert keys_of(local_store) == {"20240101/img_b_64x64.png", "20240101/img_b~2_64x64.webp", today}


def test_uploads_that_a_task_refers_to_stay(local_store):
    for name in "ab":
        local_store.put(f"uploads/20240101/{name}.png", b"", content_type="image/png")

    done = collect(local_store, in_s=2 * DAY_S, tasks=TaskReferences(keys=frozenset(["uploads/20240101/a.png"])))

    assert objects(done) == {"uploads": 1}
    assert keys_of(local_store) == {"uploads/20240101/a.png"}


def test_a_damaged_manifest_stops_the_collection_of_pictures(local_store):
    store_catalog(local_store, "shop", range(3))
    store_orphans(local_store, 3)
    local_store.put("manifests/generated_images/shop.parquet", b"damaged", content_type="x/parquet")

    with pytest.raises(UnreadableManifestError, match="'manifests/generated_images/shop.parquet' cannot be read"):
        collect(local_store, in_s=2 * DAY_S)

    assert len(keys_of(local_store, "pictures/")) == 6


def test_a_failing_store_stops_the_collection_and_withdraws_its_announcement(local_store):
    store_orphans(local_store, 3)

    class Failing(LocalObjectStore):
        def stat(self, key):
            if key.startswith("pictures/"):
                raise StoreUnavailableError("the disk is gone")
            return super().stat(key)

    with pytest.raises(StoreUnavailableError):
        collect(Failing(local_store.root), in_s=2 * DAY_S)

    assert len(keys_of(local_store, "pictures/")) == 3
    assert keys_of(local_store, ANNOUNCEMENTS) == set()


class SlowToDelete(LocalObjectStore):
    """A store in which a delete of a picture says that it is about to happen, and waits to be let go."""

    def __init__(self, root):
        super().__init__(root)
        self.about_to_delete, self.go = threading.Event(), threading.Event()

    def delete(self, key):
        if key.startswith("pictures/"):
            self.about_to_delete.set()
            assert self.go.wait(60)
        super().delete(key)


def test_a_run_that_reuses_an_orphan_while_it_is_being_deleted_knows_that_it_is_gone(local_store):
    (key,) = store_orphans(local_store, 1)
    make_old(local_store, [key])
    slow, found = SlowToDelete(local_store.root), []
    reuse = Reuse(local_store, lambda: None, renew_after_s=HOUR_S)
    collector = threading.Thread(target=collect, args=(slow,))
    collector.start()
    assert slow.about_to_delete.wait(60)
    run = threading.Thread(target=lambda: found.append(reuse.find(key)))
    run.start()
    while key not in announced_keys(local_store) or local_store.stat(key).written_s < time.time() - HOUR_S:
        time.sleep(0.01)  # until the run has written the picture anew; it must still wait for the collector now

    assert found == []
    slow.go.set()
    collector.join(60)
    run.join(60)

    assert found == [None]
    assert local_store.stat(key) is None


class LateToLook(LocalObjectStore):
    """A store in which the last look at a picture, before it is deleted, waits to be let go."""

    def __init__(self, root):
        super().__init__(root)
        self.about_to_look, self.go = threading.Event(), threading.Event()

    def stat(self, key):
        if key.startswith("pictures/"):
            self.about_to_look.set()
            assert self.go.wait(60)
        return super().stat(key)


def test_an_orphan_that_a_run_reuses_just_before_the_last_look_is_spared(local_store):
    (key,) = store_orphans(local_store, 1)
    make_old(local_store, [key])
    late, done = LateToLook(local_store.root), []
    reuse = Reuse(local_store, lambda: None, renew_after_s=HOUR_S)
    collector = threading.Thread(target=lambda: done.append(collect(late)))
    collector.start()
    assert late.about_to_look.wait(60)
    local_store.put(key, b"orphan", content_type="image/webp")  # what the run does first
    late.go.set()
    collector.join(60)

    assert (done[0].objects, done[0].spared) == (0, 1)
    assert reuse.find(key) == local_store.stat(key) is not None


def test_many_runs_and_a_collector_never_lose_a_reused_picture(local_store):
    for _ in range(5):
        keys = sorted(store_orphans(local_store, 40))
        make_old(local_store, keys)
        reuse = Reuse(local_store, lambda: None, renew_after_s=HOUR_S)
        kept = []

        def reuse_some(part, reuse=reuse, kept=kept):
            kept.extend(filter(reuse.find, part))

        runs = [threading.Thread(target=reuse_some, args=(keys[at::4],)) for at in range(4)]
        for run in runs:
            run.start()
        collect(local_store)
        for run in runs:
            run.join(60)

        assert set(kept) <= keys_of(local_store)


def test_a_manifest_written_after_the_announcement_protects_its_pictures(local_store):
    """The collector reads manifests that have changed once more before it removes anything."""
    rows = store_catalog(local_store, "shop", range(3))
    manifest = "manifests/generated_images/shop.parquet"
    content = local_store.get(manifest)
    local_store.delete(manifest)
    make_old(local_store, [row.key for row in rows])

    class WritesManifestLate(LocalObjectStore):
        def put(self, key, data, *, content_type):
            written = super().put(key, data, content_type=content_type)
            if key.startswith(ANNOUNCEMENTS):
                super().put(manifest, content, content_type=content_type)
            return written

    done = collect(WritesManifestLate(local_store.root))

    assert (done.objects, done.spared) == (0, 3)


def test_an_announcement_of_a_dead_collector_does_not_hold_for_ever(local_store):
    with announced(local_store, ["pictures/aa/a.png"]) as holds:
        assert holds()
        assert announced_keys(local_store) == {"pictures/aa/a.png"}
    local_store.put(f"{ANNOUNCEMENTS}dead.json", b'{"until_s": 1, "keys": ["k"]}', content_type="application/json")

    assert announced_keys(local_store) == set()
    assert objects(collect(local_store, in_s=2 * DAY_S)) == {"void announcements": 1}

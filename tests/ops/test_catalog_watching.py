"""Watching a folder, or a key prefix, for catalogs."""

import errno
import os
from dataclasses import replace
from typing import ClassVar

import pytest

from configs.settings import Settings
from ops.catalog.home_folder import open_catalogs
from ops.catalog.problems import SourceGoneError
from ops.catalog.source import BucketSource, FolderSource
from ops.catalog.watching import SourceState, look
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from tests.support.catalog_writer import REGISTRY, registered_text

GOOD = "id,text\na,a red mug\n"


class Inbox:
    """A watched folder, and the state from look to look; it goes through JSON, as it does between ticks."""

    def __init__(self, home, source=None):
        self.settings = Settings(home=home)
        self.folder = self.settings.catalog_source.folder
        self.folder.mkdir(parents=True)
        self.catalogs = open_catalogs(self.settings, LocalObjectStore(self.settings.store.path))
        self.source = source or FolderSource(self.folder, self.catalogs)
        self.state = SourceState()

    def write(self, name, content):
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def look(self, **options):
        found = look(self.source, self.state, self.catalogs, REGISTRY, **options)
        self.state = SourceState.from_json(found.state.to_json())
        return found

    def changed(self, looks=2):
        return [catalog.name for _ in range(looks) for catalog in self.look().changed]

    def registered(self, name):
        """The content of a registered catalog, whose file has this name."""
        assert self.catalogs.get(name.partition(".")[0]).file == name
        return registered_text(self.catalogs, name.partition(".")[0])

    def picture(self, catalog, reference):
        return self.catalogs.files(self.catalogs.get(catalog)).find(reference).read()


@pytest.fixture
def inbox(tmp_path):
    return Inbox(tmp_path / "home")


def test_a_new_catalog_is_taken_when_two_looks_find_the_same_content(inbox):
    inbox.write("shop.csv", GOOD)

    assert [[catalog.name for catalog in inbox.look().changed] for _ in range(3)] == [[], ["shop"], []]
    assert inbox.registered("shop.csv") == GOOD


def test_a_half_written_catalog_is_not_taken(inbox):
    inbox.write("shop.csv", GOOD[:12])
    assert not inbox.look().changed
    inbox.write("shop.csv", GOOD)
    assert not inbox.look().changed
    assert [catalog.name for catalog in inbox.look().changed] == ["shop"]
    assert inbox.registered("shop.csv") == GOOD


def test_content_decides_and_times_do_not(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    stat = (inbox.folder / "shop.csv").stat()

    inbox.write("shop.csv", GOOD)
    os.utime(inbox.folder / "shop.csv", (1, 1))
    assert inbox.changed() == []
    inbox.write("shop.csv", GOOD.replace("red", "tan"))
    os.utime(inbox.folder / "shop.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert inbox.changed() == ["shop"]


def test_a_bad_catalog_is_refused_once_with_all_its_problems_and_holds_up_no_other(inbox):
    inbox.write("bad.csv", "id,text,steps\na,,many\na,a mug,5\n")
    inbox.write("good.csv", GOOD)
    inbox.look()

    found = inbox.look()

    assert [catalog.name for catalog in found.changed] == ["good"]
    assert found.refused["bad.csv"].total == 3
    assert found.state.known["bad.csv"].refusal == "catalog 'bad': 3 problems"
    assert inbox.look().refused == {}
    inbox.write("bad.csv", GOOD)
    assert inbox.changed() == ["bad"]


def test_a_catalog_that_becomes_bad_stays_as_it_was_and_its_return_changes_nothing(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    inbox.write("shop.csv", "id,text\na,\n")

    assert inbox.changed() == []
    assert inbox.registered("shop.csv") == GOOD
    inbox.write("shop.csv", GOOD)
    assert inbox.changed() == []


def test_what_is_wrong_is_told_beside_the_file_until_it_is_right_or_gone(inbox):
    inbox.write("bad.csv", "id,text,steps\na,,many\n")
    inbox.write("worse.csv", "id,text\na,mug\na,hat\n")
    inbox.changed()
    note, other = (inbox.folder / f"{name}.csv.problems.txt" for name in ("bad", "worse"))

    lines = note.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "catalog 'bad': 2 problems"
    assert "  line 2, steps: 'many' is not a whole number" in lines
    assert "line 3, id: 'a' is already the id of line 2" in other.read_text(encoding="utf-8")
    inbox.write("bad.csv", GOOD)
    (inbox.folder / "worse.csv").unlink()
    assert inbox.changed() == ["bad"]
    assert not note.exists()
    assert not other.exists()


def test_a_refused_catalog_of_a_folder_that_may_only_be_read_is_refused_all_the_same(inbox):
    inbox.write("bad.csv", "id\na\n")
    (inbox.folder / "bad.csv.problems.txt").mkdir()  # nothing can be written there, whoever runs this
    inbox.look()

    assert list(inbox.look().refused) == ["bad.csv"]


def test_a_spreadsheet_is_told_to_be_saved_as_csv_unless_it_has_been(inbox):
    inbox.write("shop.ods", b"PK")
    inbox.look()
    rule = "'.ods' is not a catalog's ending; save the table as .xlsx or .csv"
    assert rule in str(inbox.look().refused["shop.ods"])
    inbox.write("shop.csv", GOOD)

    assert inbox.changed() == ["shop"]
    assert sorted(file.name for file in inbox.folder.iterdir()) == ["shop.csv", "shop.ods"]


def test_a_table_that_a_catalog_is_made_from_is_no_catalog_itself_and_its_edits_count(inbox):
    inbox.write("spring.yaml", "rows_from: products.csv\ntemplate: '{Title} on white'\ncolumns: {id: SKU}\n")
    inbox.write("products.csv", "SKU,Title\n1,a mug\n")
    assert inbox.changed() == ["spring"]
    inbox.look()
    assert sorted(file.name for file in inbox.folder.iterdir()) == ["products.csv", "spring.yaml"]
    inbox.write("products.csv", "SKU,Title\n1,a mug\n22,a hat\n")

    (changed,) = [catalog for _ in range(2) for catalog in inbox.look().changed]

    assert changed.table[["id", "text"]].to_numpy().tolist() == [["1", "a mug on white"], ["22", "a hat on white"]]
    assert inbox.picture("spring", "products.csv") == b"SKU,Title\n1,a mug\n22,a hat\n"


def test_a_table_that_comes_after_its_catalog_is_waited_for(inbox):
    inbox.write("spring.yaml", "rows_from: products.csv\ntemplate: '{Title} on white'\n")
    inbox.look()
    assert "there is no file 'products.csv' beside the catalog" in str(inbox.look().refused["spring.yaml"])
    inbox.write("products.csv", "SKU,Title\n1,a mug\n")

    assert inbox.changed(3) == ["spring"]


def test_a_new_home_gets_a_folder_to_drop_catalogs_into(inbox):
    inbox.folder.rmdir()
    inbox.look()

    assert inbox.folder.is_dir()


def test_a_folder_that_is_away_retires_nothing(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    away = inbox.folder.rename(inbox.folder.with_name("away"))

    for _ in range(3):
        with pytest.raises(
            SourceGoneError, match="inbox is not there; nothing is retired.* its 1 known catalog shall go"
        ):
            inbox.look()
    away.rename(inbox.folder)
    assert [inbox.look().retired for _ in range(2)] == [[], []]
    assert inbox.registered("shop.csv") == GOOD


def test_pictures_come_along_and_a_new_picture_is_a_change(inbox):
    (inbox.folder / "in").mkdir()
    inbox.write("in/shoe.png", b"one")
    inbox.write("shop.csv", "id,text,image\na,a shoe,in/shoe.png\n")
    assert inbox.changed() == ["shop"]
    assert inbox.picture("shop", "in/shoe.png") == b"one"

    inbox.write("in/shoe.png", b"another")

    assert inbox.changed() == ["shop"]
    assert inbox.picture("shop", "in/shoe.png") == b"another"


def test_a_catalog_whose_file_is_gone_for_two_looks_is_retired(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    (inbox.folder / "shop.csv").unlink()

    assert [inbox.look().retired for _ in range(3)] == [[], ["shop"], []]
    assert (inbox.catalogs.names(), inbox.catalogs.retired_names()) == ([], ["shop"])
    inbox.write("shop.csv", GOOD)
    assert inbox.changed() == ["shop"]


def test_a_file_that_comes_back_at_once_is_not_retired(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    (inbox.folder / "shop.csv").rename(inbox.folder / ".saving")
    assert inbox.look().retired == []
    (inbox.folder / ".saving").rename(inbox.folder / "shop.csv")

    assert [inbox.look().retired for _ in range(2)] == [[], []]
    assert inbox.registered("shop.csv") == GOOD


def test_a_busy_catalog_is_retired_later(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    (inbox.folder / "shop.csv").unlink()

    assert [inbox.look(may_retire=lambda catalog: False).retired for _ in range(3)] == [[], [], []]
    assert inbox.look().retired == ["shop"]


YAML = "rows: [{text: a hat}]"


def test_a_second_file_of_the_same_name_is_refused_once_until_one_of_them_is_removed(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    inbox.write("shop.yaml", YAML)
    inbox.look()

    assert "'shop.csv' is this catalog already; remove one of them" in str(inbox.look().refused["shop.yaml"])
    assert inbox.look().refused == {}
    assert inbox.state.known["shop.yaml"].refusal == (
        "catalog 'shop': 'shop.csv' is this catalog already; remove one of them"
    )
    assert inbox.registered("shop.csv") == GOOD
    (inbox.folder / "shop.csv").unlink()
    assert inbox.changed() == ["shop"]
    assert inbox.registered("shop.yaml") == YAML
    assert [file.name for file in inbox.folder.iterdir()] == ["shop.yaml"]


def test_a_renamed_file_goes_on_as_the_same_catalog(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    (inbox.folder / "shop.csv").unlink()
    inbox.write("shop.yaml", YAML)

    found = [inbox.look(may_retire=lambda catalog: False) for _ in range(3)]

    assert [([one.name for one in look.changed], look.retired, look.refused) for look in found] == [
        ([], [], {}),
        (["shop"], [], {}),
        ([], [], {}),
    ]
    assert inbox.registered("shop.yaml") == YAML


def test_a_catalog_whose_renamed_file_is_wrong_stays_as_it_was_until_that_is_gone(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    (inbox.folder / "shop.csv").rename(inbox.folder / "shop.yaml")

    assert [inbox.look().retired for _ in range(2)] == [[], []]
    assert inbox.state.known["shop.yaml"].refusal == "catalog 'shop': 1 problem"
    assert inbox.registered("shop.csv") == GOOD
    (inbox.folder / "shop.yaml").unlink()
    assert [inbox.look().retired for _ in range(2)] == [[], ["shop"]]


def test_a_second_file_that_an_earlier_version_refused_for_ever_is_taken(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.write("shop.yaml", YAML)
    inbox.changed()
    refused = replace(inbox.state.known["shop.yaml"], mark=dict(inbox.source.marks())["shop.yaml"])
    inbox.state.known["shop.yaml"] = refused
    inbox.state.pending.clear()
    (inbox.folder / "shop.csv").unlink()

    assert inbox.changed(3) == ["shop"]


def test_a_name_that_is_not_utf_8_is_refused_and_holds_up_no_other(inbox):
    inbox.write("good.csv", GOOD)
    (inbox.folder / os.fsdecode(b"fr\xfchling.csv")).write_text(GOOD)
    inbox.look()

    found = inbox.look()

    assert [catalog.name for catalog in found.changed] == ["good"]
    assert "the file must be named by" in str(found.refused["fr\N{REPLACEMENT CHARACTER}hling.csv"])
    assert inbox.look().refused == {}


def test_a_file_that_cannot_be_read_is_refused_until_it_can_be_and_holds_up_no_other(inbox, monkeypatch):
    inbox.write("good.csv", GOOD)
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    forbid(monkeypatch, inbox.folder / "shop.csv")
    inbox.write("new.csv", GOOD)
    inbox.look()

    found = inbox.look()

    assert [catalog.name for catalog in found.changed] == ["new"]
    assert "the file cannot be read: [Errno 13] Permission denied" in str(found.refused["shop.csv"])
    assert inbox.look().retired == []
    monkeypatch.undo()
    assert inbox.changed() == []
    assert not inbox.state.known["shop.csv"].refusal


def forbid(monkeypatch, file):
    """Let a file not be opened, also by the superuser, whom file modes do not stop."""
    opened = os.open

    def refusing(path, *args, **options):
        if path == file.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refusing)


def test_a_catalog_that_cannot_be_kept_or_retired_while_the_store_is_away_is_tried_again(inbox, monkeypatch):
    def away(*args, **options):
        raise StoreUnavailableError("the store is away")

    inbox.write("shop.csv", GOOD)
    inbox.look()
    monkeypatch.setattr(inbox.catalogs.store, "put", away)
    with pytest.raises(StoreUnavailableError):
        inbox.look()
    monkeypatch.undo()
    assert inbox.changed(1) == ["shop"]
    (inbox.folder / "shop.csv").unlink()
    inbox.look()
    monkeypatch.setattr(inbox.catalogs.store, "put", away)
    with pytest.raises(StoreUnavailableError):
        inbox.look()
    monkeypatch.undo()
    assert inbox.look().retired == ["shop"]


def test_a_picture_that_comes_after_its_catalog_is_waited_for(inbox):
    inbox.write("shop.csv", "id,text,image\na,a shoe,in/shoe.png\n")
    inbox.look()
    assert "line 2, image: 'in/shoe.png' is neither a file" in str(inbox.look().refused["shop.csv"])
    assert (inbox.folder / "shop.csv.problems.txt").exists()
    assert inbox.look().refused == {}
    (inbox.folder / "in").mkdir()
    inbox.write("in/shoe.png", b"one")

    assert inbox.changed(1) == ["shop"]
    assert inbox.picture("shop", "in/shoe.png") == b"one"
    assert not (inbox.folder / "shop.csv.problems.txt").exists()


def test_what_is_no_catalog_is_said_to_be_none_and_pictures_are_passed_over(inbox):
    for folder in ("spring/deeper", "photos", ".git"):
        (inbox.folder / folder).mkdir(parents=True)
    inbox.write("spring/deeper/shop.csv", GOOD)
    inbox.write(".git/shop.csv", GOOD)
    inbox.write("photos/shoe.png", b"one")
    inbox.write("shoe.webp", b"one")
    inbox.write("prompts.txt", "a red mug\n")
    inbox.write("table.parquet", b"PAR1")
    inbox.look()

    refused = {name: str(error) for name, error in inbox.look().refused.items()}

    assert sorted(refused) == ["prompts.txt", "spring/", "table.parquet"]
    assert "'.txt' is not a catalog's ending; use .csv, " in refused["prompts.txt"]
    assert "catalogs in folders are not looked at; put their files directly into" in refused["spring/"]
    assert "'.parquet' is not a catalog's ending; save the table as .xlsx or .csv" in refused["table.parquet"]
    assert (inbox.folder / "prompts.txt.problems.txt").exists()
    assert (inbox.folder / "spring.problems.txt").exists()
    assert inbox.look().refused == {}
    inbox.write("shop.csv", GOOD)
    (inbox.folder / "prompts.txt").unlink()
    assert inbox.changed() == ["shop"]
    assert not (inbox.folder / "prompts.txt.problems.txt").exists()


def test_objects_below_a_prefix_are_whole_and_taken_at_once(tmp_path):
    store = LocalObjectStore(tmp_path / "store")
    inbox = Inbox(tmp_path / "home", BucketSource(store, "catalogs/"))
    store.put("catalogs/shop.csv", GOOD.encode(), content_type="text/csv")
    store.put("catalogs/deeper/other.csv", GOOD.encode(), content_type="text/csv")
    store.put("catalogs/notes.txt", b"no catalog", content_type="text/plain")
    store.put("catalogs/deeper/shoe.png", b"one", content_type="image/png")

    found = inbox.look()

    assert [catalog.name for catalog in found.changed] == ["shop"]
    assert "put it directly below 'catalogs/'" in str(found.refused["deeper/other.csv"])
    assert "'.txt' is not a catalog's ending" in str(found.refused["notes.txt"])
    assert inbox.registered("shop.csv") == GOOD
    store.put("catalogs/shop.csv", GOOD.encode(), content_type="text/csv")
    assert inbox.changed() == []
    store.put("catalogs/shop.csv", GOOD.replace("red", "tan").encode(), content_type="text/csv")
    assert inbox.changed(1) == ["shop"]
    store.put("catalogs/shop.csv", b"id\na\n", content_type="text/csv")
    assert list(inbox.look().refused) == ["shop.csv"]
    assert b"line 1, text: required" in store.get("catalogs/shop.csv.problems.txt")
    store.put("catalogs/shop.csv", GOOD.encode(), content_type="text/csv")
    inbox.look()
    assert store.stat("catalogs/shop.csv.problems.txt") is None
    store.delete("catalogs/shop.csv")
    assert [inbox.look().retired for _ in range(2)] == [[], ["shop"]]


class Listing(LocalObjectStore):
    """A store that says which objects were read, and what else it is asked to say of one."""

    read = ()
    sizes: ClassVar[dict[str, int]] = {}

    def get(self, key):
        self.read = (*self.read, key)
        return super().get(key)

    def stat(self, key):
        found = super().stat(key)
        return replace(found, size_bytes=self.sizes[key]) if key in self.sizes else found


def test_an_object_above_the_maximum_is_refused_unread(tmp_path):
    store = Listing(tmp_path / "store")
    store.sizes = {"catalogs/huge.yaml": 64 * 2**20 + 1}
    inbox = Inbox(tmp_path / "home", BucketSource(store, "catalogs/"))
    for name in ("good.csv", "huge.yaml"):
        store.put(f"catalogs/{name}", GOOD.encode(), content_type="text/plain")

    found = inbox.look()

    assert [catalog.name for catalog in found.changed] == ["good"]
    assert "67,108,865 bytes are above the maximum of 67,108,864 for .yaml" in str(found.refused["huge.yaml"])
    assert [key for key in store.read if key.startswith("catalogs/")] == ["catalogs/good.csv"]


def test_an_object_whose_name_is_too_long_holds_up_no_other(tmp_path):
    store = LocalObjectStore(tmp_path / "store")
    inbox = Inbox(tmp_path / "home", BucketSource(store, "catalogs/"))
    store.put("catalogs/good.csv", GOOD.encode(), content_type="text/plain")
    store.put(f"catalogs/{'春' * 83}.csv", GOOD.encode(), content_type="text/plain")

    found = inbox.look()

    assert [catalog.name for catalog in found.changed] == ["good"]
    assert "of at most 240 bytes" in str(found.refused[f"{'春' * 83}.csv"])

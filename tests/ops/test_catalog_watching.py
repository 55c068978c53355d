"""Watching a folder, or a key prefix, for catalogs."""

import os

import pytest

from configs.settings import Settings
from ops.catalog import RETIRED
from ops.catalog.problems import SourceGoneError
from ops.catalog.source import BucketSource, FolderSource
from ops.catalog.watching import SourceState, look
from resources.local_store import LocalObjectStore
from tests.ops.catalog_writer import REGISTRY

GOOD = "id,text\na,a red mug\n"


class Inbox:
    """A watched folder, and the state from look to look; it goes through JSON, as it does between ticks."""

    def __init__(self, home, source=None):
        self.settings = Settings(home=home)
        self.folder = self.settings.catalog_source.folder
        self.folder.mkdir(parents=True)
        self.source = source or FolderSource(self.folder, self.settings.catalog_folder)
        self.state = SourceState()

    def write(self, name, content):
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def look(self, **options):
        found = look(self.source, self.state, self.settings, REGISTRY, **options)
        self.state = SourceState.from_json(found.state.to_json())
        return found

    def changed(self, looks=2):
        return [catalog.name for _ in range(looks) for catalog in self.look().changed]

    def registered(self, name):
        return (self.settings.catalog_folder / name).read_text(encoding="utf-8")


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
    inbox.write("shop.xlsx", b"PK")
    inbox.look()
    assert "'.xlsx' is not a catalog's ending; save the sheet as CSV, in UTF-8" in str(
        inbox.look().refused["shop.xlsx"]
    )
    inbox.write("shop.csv", GOOD)

    assert inbox.changed() == ["shop"]
    assert sorted(file.name for file in inbox.folder.iterdir()) == ["shop.csv", "shop.xlsx"]


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
    assert (inbox.settings.catalog_folder / "shop.pictures/in/shoe.png").read_bytes() == b"one"

    inbox.write("in/shoe.png", b"another")

    assert inbox.changed() == ["shop"]
    assert (inbox.settings.catalog_folder / "shop.pictures/in/shoe.png").read_bytes() == b"another"


def test_a_catalog_whose_file_is_gone_for_two_looks_is_retired(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    (inbox.folder / "shop.csv").unlink()

    assert [inbox.look().retired for _ in range(3)] == [[], ["shop"], []]
    assert not (inbox.settings.catalog_folder / "shop.csv").exists()
    assert inbox.registered(f"{RETIRED}/shop.csv") == GOOD
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


def test_a_second_file_of_the_same_name_is_refused(inbox):
    inbox.write("shop.csv", GOOD)
    inbox.changed()
    inbox.write("shop.yaml", "rows: [{text: a hat}]")
    inbox.look()

    assert "'shop.csv' is this catalog already; remove one of them" in str(inbox.look().refused["shop.yaml"])
    assert inbox.registered("shop.csv") == GOOD


def test_objects_below_a_prefix_are_whole_and_taken_at_once(tmp_path):
    store = LocalObjectStore(tmp_path / "store")
    inbox = Inbox(tmp_path / "home", BucketSource(store, "catalogs/"))
    store.put("catalogs/shop.csv", GOOD.encode(), content_type="text/csv")
    store.put("catalogs/deeper/other.csv", GOOD.encode(), content_type="text/csv")
    store.put("catalogs/notes.txt", b"no catalog", content_type="text/plain")

    assert inbox.changed(1) == ["shop"]
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

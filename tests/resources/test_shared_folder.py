import shutil
from threading import Thread

import pytest

from configs.settings import Settings
from resources.local_store import LocalObjectStore
from resources.shared_folder import LOGOS, SharedFolder, refresh_marks
from tests.support.stored_catalogs import keys_of


class Machine:
    """A machine with a folder of logos, over the store that all share."""

    def __init__(self, home, store):
        self.folder = home / "logos"
        self.shared = SharedFolder(self.folder, store, LOGOS, home / "cache/logos.json")

    def write(self, place, content):
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / place).write_bytes(content)

    def synced(self):
        self.shared.sync()
        files = (file for file in self.folder.rglob("*") if file.is_file()) if self.folder.is_dir() else ()
        return {file.relative_to(self.folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture
def machines(tmp_path, store):
    one, another = Machine(tmp_path / "one", store), Machine(tmp_path / "another", store)
    one.write("a.png", b"a")
    one.write("de/b.png", b"b")
    assert one.synced() == another.synced() == {"a.png": b"a", "de/b.png": b"b"}
    return one, another


def test_where_there_is_nothing_nothing_is_made(tmp_path, store):
    assert Machine(tmp_path / "one", store).synced() == {}
    assert list(tmp_path.iterdir()) == []


def test_what_is_edited_or_removed_on_one_machine_is_so_on_all(machines):
    one, another = machines
    another.write("a.png", b"aa")
    (another.folder / "de/b.png").unlink()

    assert another.synced() == one.synced() == another.synced() == {"a.png": b"aa"}


def test_hidden_files_stay_where_they_are(machines, store):
    machines[0].write(".DS_Store", b"")
    machines[0].synced()

    assert keys_of(store, LOGOS) == {f"{LOGOS}a.png", f"{LOGOS}de/b.png"}


def test_an_edit_wins_over_one_of_another_machine_and_an_old_copy_over_none(machines, tmp_path, store):
    one, another = machines
    another.write("a.png", b"theirs")
    another.synced()
    one.write("a.png", b"mine")
    assert one.synced()["a.png"] == another.synced()["a.png"] == b"mine"

    third = Machine(tmp_path / "third", store)
    third.write("a.png", b"of last year")
    third.write("c.png", b"c")
    assert third.synced() == one.synced() == {"a.png": b"mine", "de/b.png": b"b", "c.png": b"c"}


@pytest.mark.parametrize("loss", ["folder", "files", "memory"])
def test_a_lost_cache_is_filled_again_and_removes_nothing(machines, loss):
    one, another = machines
    shutil.rmtree(one.folder if loss != "memory" else one.shared.memory.parent)
    if loss == "files":
        one.folder.mkdir()

    assert one.synced() == another.synced() == {"a.png": b"a", "de/b.png": b"b"}


def test_processes_at_once_agree(tmp_path, store):
    machine = Machine(tmp_path / "one", store)
    for number in range(20):
        machine.write(f"{number}.png", b"%d" % number)
    threads = [Thread(target=machine.synced) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(Machine(tmp_path / "another", store).synced()) == 20


def test_what_one_process_publishes_while_another_begins_to_look_is_removed_by_neither(tmp_path, store):
    machine, begun = Machine(tmp_path / "one", store), []

    class Slow(LocalObjectStore):
        def list(self, prefix=""):
            found = [*super().list(prefix)]
            if not begun:
                begun.append(Thread(target=machine.shared.sync))
                begun[0].start()
                begun[0].join(0.5)
            return iter(found)

    machine.write("a.png", b"a")
    SharedFolder(machine.folder, Slow(store.root), LOGOS, machine.shared.memory).sync()
    begun[0].join()

    assert [file.name for file in machine.folder.iterdir()] == ["a.png"]


def test_logos_and_fonts_are_those_of_the_settings(tmp_path):
    homes = [Settings(home=tmp_path / name, store={"path": tmp_path / "store"}) for name in ("one", "another")]
    for folder in (homes[0].logo_folder, homes[0].fonts_folder):
        folder.mkdir(parents=True)
        (folder / "mine").write_bytes(b"x")
    for home in homes:
        refresh_marks(home)

    assert (homes[1].logo_folder / "mine").read_bytes() == (homes[1].fonts_folder / "mine").read_bytes() == b"x"

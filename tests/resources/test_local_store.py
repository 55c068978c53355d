"""What only a store made of files must survive: killed writers, links, clashes, a full disk, missing rights."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.local_store import LocalObjectStore
from resources.object_store import (
    TEMP_FOLDER,
    InvalidKeyError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreUnavailableError,
)

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PUT_FOR_EVER = """
import sys
from pathlib import Path
from resources.local_store import LocalObjectStore
store = LocalObjectStore(Path(sys.argv[1]))
for number in range(1_000_000):
    store.put("victim", bytes([number % 256]) * (8 << 20), content_type="image/png")
"""


@contextmanager
def endless_writer(store: LocalObjectStore) -> Iterator["subprocess.Popen[bytes]"]:
    """A real process that puts 8 MiB objects under one key, over and over."""
    with subprocess.Popen([sys.executable, "-c", PUT_FOR_EVER, str(store.root)], cwd=REPOSITORY) as process:
        try:
            yield process
        finally:
            process.kill()


def stop_in_mid_write(store: LocalObjectStore, process: "subprocess.Popen[bytes]") -> Path:
    """Freeze the writer while its temporary file exists: the file."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        found = unfinished(store)
        if found and found[0].stat().st_size > 0:
            return found[0]
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    raise AssertionError("the writer was never seen writing")


def unfinished(store: LocalObjectStore) -> list[Path]:
    folder = store.root / TEMP_FOLDER
    return list(folder.iterdir()) if folder.exists() else []


def put(store: LocalObjectStore, key: str, data: bytes = b"data") -> None:
    store.put(key, data, content_type="text/plain")


def test_a_writer_killed_in_mid_write_leaves_the_old_object_or_none(local_store: LocalObjectStore) -> None:
    for old in (None, b"old"):
        if old:
            put(local_store, "victim", old)
        with endless_writer(local_store) as process:
            stop_in_mid_write(local_store, process)
            before = local_store.stat("victim")
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(unfinished(local_store)) == 1
        after = LocalObjectStore(local_store.root)
        assert after.stat("victim") == before
        assert unfinished(after) == []
        if before is not None:
            data = after.get("victim")
            assert data == old or (len(data) == 8 << 20 and len(set(data)) == 1)
        assert [found.key for found in after.list()] == (["victim"] if before else [])
        after.delete("victim")


def test_a_writer_that_still_lives_keeps_its_unfinished_object(local_store: LocalObjectStore) -> None:
    with endless_writer(local_store) as process:
        temp = stop_in_mid_write(local_store, process)
        other = LocalObjectStore(local_store.root)
        other.check()
        put(other, "mine")
        assert temp.exists()
        assert TEMP_FOLDER not in "".join(found.key for found in other.list())
        before = other.stat("victim")
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 60
        while other.stat("victim") == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None
        assert other.stat("victim") != before


def test_an_unfinished_write_is_not_an_object(local_store: LocalObjectStore) -> None:
    put(local_store, "a")
    (local_store.root / TEMP_FOLDER / "leftover").write_bytes(b"half")
    assert [found.key for found in local_store.list()] == ["a"]
    assert [found.key for found in LocalObjectStore(local_store.root).list()] == ["a"]
    assert unfinished(local_store) == []


def test_a_write_that_fails_leaves_nothing(local_store: LocalObjectStore) -> None:
    put(local_store, "a", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StoreUnavailableError) as caught:
            put(local_store, "a", b"x" * (2 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == (
        f"store folder {local_store.root}: File too large (while writing). "
        "Free or repair that disk, or set IMAGEGENX_STORE__PATH to another."
    )
    assert local_store.get("a") == b"old"
    assert unfinished(local_store) == []


def test_a_link_out_of_the_store_is_not_followed(local_store: LocalObjectStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    put(local_store, "pictures/a")
    (local_store.root / "escape").symlink_to(outside)
    (local_store.root / "pictures" / "secret").symlink_to(outside / "secret")
    (local_store.root / "loop").symlink_to("loop")
    for key in ("escape/secret", "escape/new", "pictures/secret", "loop", "loop/a"):
        for use in (local_store.get, local_store.stat, local_store.delete, local_store.url):
            with pytest.raises(StoreAccessError):
                use(key)
        with pytest.raises(StoreAccessError) as caught:
            put(local_store, key)
        link = key if key == "pictures/secret" else key.split("/")[0]
        assert str(caught.value) == (
            f"{local_store.root / link} is a symbolic link, and the store follows none below its folder. "
            "Replace the link by what it points to, or choose another key."
        )
    assert [found.key for found in local_store.list()] == ["pictures/a"]
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_a_store_that_is_itself_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = LocalObjectStore(tmp_path / "store")
    put(store, "pictures/a")
    assert store.get("pictures/a") == b"data"
    assert (tmp_path / "disk" / "pictures" / "a").read_bytes() == b"data"


def test_a_store_whose_link_leads_nowhere_is_away_and_not_empty(tmp_path: Path) -> None:
    disk, aside = tmp_path / "disk", tmp_path / "aside"
    disk.mkdir()
    (tmp_path / "store").symlink_to(disk)
    store = LocalObjectStore(tmp_path / "store")
    put(store, "pictures/a")
    disk.rename(aside)
    uses: list[Callable[[], object]] = [
        *(store.check, lambda: put(store, "a"), lambda: store.get("pictures/a"), lambda: store.stat("pictures/a")),
        *(lambda: store.delete("pictures/a"), lambda: list(store.list()), lambda: store.url("pictures/a")),
    ]
    for use in uses:
        with pytest.raises(StoreUnavailableError) as caught:
            use()
        assert str(caught.value) == (
            f"store folder {tmp_path / 'store'}: it is a link to {disk}, which is not there. "
            "Mount that disk, or set IMAGEGENX_STORE__PATH to another."
        )
    assert not disk.exists()

    aside.rename(disk)
    assert store.get("pictures/a") == b"data"


def test_an_object_cannot_share_its_name_with_a_folder(local_store: LocalObjectStore) -> None:
    put(local_store, "a/b")
    put(local_store, "file")
    for key, reason in (("a", "Is a directory"), ("file/below", "File exists"), ("file/deep/below", "File exists")):
        with pytest.raises(InvalidKeyError) as caught:
            put(local_store, key)
        rule = f"in {local_store.root}, a folder and an object would share a name ({reason})"
        assert str(caught.value) == f"key '{key}': {rule}. Use a relative path such as 'pictures/0a/0a1b.webp'."
        assert local_store.stat(key) is None
        local_store.delete(key)
        with pytest.raises(ObjectNotFoundError):
            local_store.get(key)
    assert [found.key for found in local_store.list()] == ["a/b", "file"]
    assert unfinished(local_store) == []


def test_a_file_in_place_of_the_store_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = LocalObjectStore(tmp_path / "file")
    uses: list[Callable[[], None]] = [store.check, lambda: put(store, "a")]
    for use in uses:
        with pytest.raises(StoreAccessError) as caught:
            use()
        assert str(caught.value).startswith(f"store folder {tmp_path / 'file'}: ")
        assert "set IMAGEGENX_STORE__PATH to a folder where it may." in str(caught.value)


@contextmanager
def as_a_user_without_rights(folder: Path) -> Iterator[None]:
    """Read-only to this process, which for root means to be someone else for a while."""
    folder.chmod(0o555)
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_store_one_may_only_read_is_read_and_refuses_the_rest() -> None:
    parent = Path(tempfile.mkdtemp())
    try:
        parent.chmod(0o755)
        put(LocalObjectStore(parent / "store"), "a")
        (parent / "store" / TEMP_FOLDER / "leftover").write_bytes(b"half")
        (parent / "store" / TEMP_FOLDER).chmod(0o555)
        with as_a_user_without_rights(parent / "store"):
            store = LocalObjectStore(parent / "store")
            assert store.get("a") == b"data"
            assert [found.key for found in store.list()] == ["a"]
            uses: list[Callable[[], None]] = [lambda: put(store, "b"), lambda: store.delete("a"), store.check]
            for use in uses:
                with pytest.raises(StoreAccessError, match="Permission denied"):
                    use()
    finally:
        (parent / "store").chmod(0o755)
        (parent / "store" / TEMP_FOLDER).chmod(0o755)
        shutil.rmtree(parent)


def test_files_that_others_put_there_are_objects_if_their_names_are_keys(local_store: LocalObjectStore) -> None:
    put(local_store, "a")
    (local_store.root / "logo.png").write_bytes(b"logo")
    Path(os.fsdecode(os.fsencode(local_store.root) + b"/line\nbreak")).write_bytes(b"")
    os.mkfifo(local_store.root / "pipe")
    assert [found.key for found in local_store.list()] == ["a", "logo.png"]
    assert local_store.stat("pipe") is None


def test_objects_are_readable_as_the_umask_allows(local_store: LocalObjectStore) -> None:
    old = os.umask(0o022)
    try:
        put(local_store, "a")
    finally:
        os.umask(old)
    assert (local_store.root / "a").stat().st_mode & 0o777 == 0o644


def test_making_the_store_touches_no_file(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path / "store")
    assert store.url("画/a") == f"{(tmp_path / 'store').as_uri()}/%E7%94%BB/a"
    assert list(store.list()) == []
    assert store.stat("a") is None
    assert list(tmp_path.iterdir()) == []

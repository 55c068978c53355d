import hashlib
import json
import os

import pytest

from models import digests
from models.digests import DigestCache


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")

    assert DigestCache(None).of([file]) == {file: hashlib.sha256(b"abc").hexdigest()}


@pytest.fixture
def files_are_old(monkeypatch):
    """Files of a test are taken for old enough to be remembered."""
    monkeypatch.setattr(digests, "DOUBT_S", -1.0)


@pytest.fixture
def reads(monkeypatch):
    """How often a file's content was read."""
    counted = []
    whole = hashlib.file_digest
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *args: counted.append(1) or whole(*args))
    return counted


def rewritten(file, content):
    """In place, as by an editor."""
    file.write_bytes(content)


def replaced(file, content):
    """By another file of its name, as by a download."""
    other = file.with_name("other")
    other.write_bytes(content)
    other.replace(file)


def renamed_back(file, content):
    """By a copy that keeps times, as by rsync or tar."""
    stat = file.stat()
    copy = file.with_name("copy")
    copy.write_bytes(content)
    os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    file.unlink()
    copy.rename(file)


@pytest.mark.parametrize("change", [rewritten, replaced, renamed_back])
@pytest.mark.parametrize("age", ["old", "young"])
def test_a_file_replaced_by_one_of_equal_size_and_time_gets_its_new_digest(tmp_path, monkeypatch, change, age):
    monkeypatch.setattr(digests, "DOUBT_S", -1.0 if age == "old" else 60.0)
    file, cache = tmp_path / "a.bin", DigestCache(tmp_path / "cache/digests.json")
    file.write_bytes(b"abc")
    stat = file.stat()
    before = cache.of([file])[file]

    change(file, b"xyz")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert before == hashlib.sha256(b"abc").hexdigest()
    for asked in (cache, DigestCache(tmp_path / "cache/digests.json")):
        assert asked.of([file])[file] == hashlib.sha256(b"xyz").hexdigest()


def test_an_old_file_is_read_once_by_all_processes(tmp_path, files_are_old, reads):
    file, cache = tmp_path / "a.bin", tmp_path / "cache/digests.json"
    file.write_bytes(b"abc")

    found = [DigestCache(cache).of([file, file])[file], DigestCache(cache).of([file])[file]]

    assert (found, len(reads)) == ([hashlib.sha256(b"abc").hexdigest()] * 2, 1)


def test_a_file_that_may_still_change_within_its_clock_is_read_each_time(tmp_path, reads):
    file, cache = tmp_path / "a.bin", DigestCache(tmp_path / "digests.json")
    file.write_bytes(b"abc")

    cache.of([file])
    cache.of([file])

    assert len(reads) == 2
    assert not (tmp_path / "digests.json").exists()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, files_are_old, monkeypatch):
    file, cache = tmp_path / "a.bin", DigestCache(None)
    file.write_bytes(b"abc")
    whole = hashlib.file_digest
    with monkeypatch.context() as patched:
        patched.setattr(digests.hashlib, "file_digest", lambda *args: (whole(*args), file.write_bytes(b"xyz"))[0])
        cache.of([file])

    assert cache.of([file])[file] == hashlib.sha256(b"xyz").hexdigest()


def test_a_cache_keeps_the_last_version_of_a_file_alone(tmp_path, files_are_old):
    file, cache = tmp_path / "a.bin", tmp_path / "digests.json"
    for content in (b"a", b"ab", b"abc"):
        file.write_bytes(content)
        DigestCache(cache).of([file])

    assert list(json.loads(cache.read_text())) == [str(file)]


def test_two_caches_of_one_file_keep_what_both_have_found(tmp_path, files_are_old):
    cache = tmp_path / "digests.json"
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    one, two = DigestCache(cache), DigestCache(cache)
    one.of([])
    two.of([tmp_path / "b"])

    one.of([tmp_path / "a"])

    assert len(json.loads(cache.read_text())) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "digests.json"]


def test_a_damaged_or_older_cache_file_is_made_anew(tmp_path, files_are_old):
    cache = tmp_path / "digests.json"
    (tmp_path / "a").write_bytes(b"a")
    for damage in ("{", "[]", '{"a": 1}', '{"a:1:2": "ff"}', '{"a": [[1, 2], "ff"]}'):
        cache.write_text(damage)

        assert DigestCache(cache).of([tmp_path / "a"])[tmp_path / "a"] == hashlib.sha256(b"a").hexdigest()
        assert len(json.loads(cache.read_text())) == 1


@pytest.mark.parametrize("obstacle", ["a file for its folder", "a folder in its place"])
def test_digests_that_cannot_be_kept_are_told_all_the_same(tmp_path, caplog, obstacle, files_are_old):
    (tmp_path / "a").write_bytes(b"a")
    cache = tmp_path / "kept/digests.json"
    if obstacle == "a file for its folder":
        cache.parent.write_bytes(b"")
    else:
        cache.mkdir(parents=True)

    assert DigestCache(cache).of([tmp_path / "a"])[tmp_path / "a"] == hashlib.sha256(b"a").hexdigest()

    assert caplog.messages[0].startswith(f"digests of files cannot be kept in {cache}: ")
    assert not list(tmp_path.rglob("*.part"))

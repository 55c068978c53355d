import hashlib
import json
import os

import pytest

from models.digests import DigestCache


def test_the_digest_of_a_file_is_its_sha256(tmp_path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")

    assert DigestCache(None).of([file]) == {file: hashlib.sha256(b"abc").hexdigest()}


def test_a_known_file_is_not_read_again_until_size_or_time_of_change_differ(tmp_path):
    file, cache = tmp_path / "a.bin", tmp_path / "cache/digests.json"
    file.write_bytes(b"abc")
    stat = file.stat()
    first = DigestCache(cache).of([file])[file]

    file.write_bytes(b"xyz")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert DigestCache(cache).of([file])[file] == first

    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert DigestCache(cache).of([file])[file] == hashlib.sha256(b"xyz").hexdigest()


def test_two_caches_of_one_file_keep_what_both_have_found(tmp_path):
    cache = tmp_path / "digests.json"
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    one, two = DigestCache(cache), DigestCache(cache)
    one.of([])
    two.of([tmp_path / "b"])

    one.of([tmp_path / "a"])

    assert len(json.loads(cache.read_text())) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "digests.json"]


def test_a_damaged_cache_file_is_made_anew(tmp_path):
    cache = tmp_path / "digests.json"
    (tmp_path / "a").write_bytes(b"a")
    for damage in ("{", "[]"):
        cache.write_text(damage)

        assert DigestCache(cache).of([tmp_path / "a"])[tmp_path / "a"] == hashlib.sha256(b"a").hexdigest()
        assert len(json.loads(cache.read_text())) == 1


@pytest.mark.parametrize("obstacle", ["a file for its folder", "a folder in its place"])
def test_digests_that_cannot_be_kept_are_told_all_the_same(tmp_path, caplog, obstacle):
    (tmp_path / "a").write_bytes(b"a")
    cache = tmp_path / "kept/digests.json"
    if obstacle == "a file for its folder":
        cache.parent.write_bytes(b"")
    else:
        cache.mkdir(parents=True)

    assert DigestCache(cache).of([tmp_path / "a"])[tmp_path / "a"] == hashlib.sha256(b"a").hexdigest()

    assert caplog.messages[0].startswith(f"digests of files cannot be kept in {cache}: ")
    assert not list(tmp_path.rglob("*.part"))

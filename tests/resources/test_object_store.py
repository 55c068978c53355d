"""What every object store promises, shown by each implementation: files, and a real S3 server."""

import threading
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.local_store import LocalObjectStore
from resources.object_store import (
    MAX_KEY_BYTES,
    MAX_URL_EXPIRES_S,
    InvalidExpiryError,
    InvalidKeyError,
    ObjectNotFoundError,
    ObjectStore,
    check_key,
    is_key,
)
from resources.open_store import open_store
from resources.s3_store import S3ObjectStore
from tests.support.s3_server import S3Server

HOSTILE_KEYS = {
    "": "it is empty, ends with '/', or has an empty part",
    "/etc/passwd": "it begins with '/', but keys are relative",
    "../secret": "'.' and '..' are not allowed as parts",
    "pictures/../../secret": "'.' and '..' are not allowed as parts",
    "pictures/./a.png": "'.' and '..' are not allowed as parts",
    "pictures//a.png": "it is empty, ends with '/', or has an empty part",
    "pictures/": "it is empty, ends with '/', or has an empty part",
    "pictures/ /a.png": "it is empty, ends with '/', or has an empty part",
    "a\0b": "it holds a control character, such as NUL or a line break",
    "a\nb": "it holds a control character, such as NUL or a line break",
    "a\x7fb": "it holds a control character, such as NUL or a line break",
    "a\ud800b": "it holds half a character (a lone surrogate), which is not Unicode text",
    "画" * 301: "903 bytes in UTF-8 are above the maximum of 900",
    "a/" + "b" * 256: "a part between '/' is longer than 255 bytes in UTF-8",
    ".imagegenx-tmp/a": "'.imagegenx-tmp' is reserved for unfinished writes",
}
KEY_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)


def put(store: ObjectStore, key: str, data: bytes = b"data") -> None:
    store.put(key, data, content_type="application/octet-stream")


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


def test_what_is_put_is_got_back_and_listed(store: ObjectStore) -> None:
    written = store.put("pictures/0a/0a1b.png", b"\x89PNG\r\n\x1a\n", content_type="image/png")
    assert (written.key, written.size_bytes) == ("pictures/0a/0a1b.png", 8)
    assert written.etag
    assert store.get("pictures/0a/0a1b.png") == b"\x89PNG\r\n\x1a\n"
    assert store.stat("pictures/0a/0a1b.png") == written
    assert list(store.list()) == [written]


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    put(store, "empty", b"")
    assert store.get("empty") == b""
    assert [found.size_bytes for found in store.list()] == [0]


def test_a_second_put_replaces_the_object_and_its_etag(store: ObjectStore) -> None:
    first = store.put("a", b"first", content_type="text/plain")
    second = store.put("a", b"other", content_type="text/plain")
    assert store.get("a") == b"other"
    assert store.stat("a") == second
    assert first.etag != second.etag
    assert keys(store) == ["a"]


def test_an_object_of_several_parts_comes_back_whole(store: ObjectStore) -> None:
    data = bytes(range(256)) * (17 * 4096)
    written = store.put("large", data, content_type="application/octet-stream")
    assert written.size_bytes == len(data) == 17 * 2**20
    assert store.get("large") == data
    assert store.stat("large") == written


def test_a_missing_object_is_not_found_by_name(store: ObjectStore) -> None:
    put(store, "pictures/other")
    assert store.stat("pictures/missing.png") is None
    with pytest.raises(ObjectNotFoundError, match=r"no object 'pictures/missing.png' in ") as caught:
        store.get("pictures/missing.png")
    assert caught.value.key == "pictures/missing.png"
    assert store.stat("pictures") is None
    with pytest.raises(ObjectNotFoundError):
        store.get("pictures")


def test_deleting_twice_is_as_good_as_once(store: ObjectStore) -> None:
    put(store, "a/b")
    put(store, "a/c")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    store.delete("a")
    assert keys(store) == ["a/c"]
    assert store.stat("a/b") is None
    put(store, "a/b", b"again")
    assert store.get("a/b") == b"again"


def test_a_prefix_is_any_beginning_of_a_key(store: ObjectStore) -> None:
    names = ["a", "manifests/demo.parquet", "pictures-old/1", "pictures/0a/1", "pictures/0b/2", "pictures/0b2", "画/猫"]
    for name in reversed(names):
        put(store, name)
    assert keys(store) == sorted(names, key=str.encode)
    assert keys(store, "pictures/") == ["pictures/0a/1", "pictures/0b/2", "pictures/0b2"]
    assert keys(store, "pictures") == ["pictures-old/1", "pictures/0a/1", "pictures/0b/2", "pictures/0b2"]
    assert keys(store, "pictures/0b") == ["pictures/0b/2", "pictures/0b2"]
    assert keys(store, "pictures/0b/2") == ["pictures/0b/2"]
    assert keys(store, "画") == ["画/猫"]
    assert keys(store, "nothing") == keys(store, "../") == keys(store, "/") == []


def test_listing_goes_on_page_after_page(store: ObjectStore) -> None:
    names = [f"{number:03}" for number in range(45)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put(store, name), names))
    assert keys(store) == names


def test_an_empty_store_lists_nothing(store: ObjectStore) -> None:
    assert keys(store) == []


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=KEY_TEXT.filter(lambda text: is_key(f"x/{text}")))
def test_any_text_that_is_a_key_round_trips(store: ObjectStore, text: str) -> None:
    folder = uuid.uuid4().hex
    key = f"{folder}/{text}"
    put(store, key, text.encode())
    assert store.get(key) == text.encode()
    assert keys(store, f"{folder}/") == [key]
    assert urllib.request.urlopen(store.url(key)).read() == text.encode()
    store.delete(key)
    assert store.stat(key) is None


def test_the_longest_key_is_stored(store: ObjectStore) -> None:
    key = "/".join(["é" * 112] * 4)
    assert len(key.encode()) == MAX_KEY_BYTES - 1
    put(store, key)
    assert keys(store) == [key]


@pytest.mark.parametrize(("key", "rule"), HOSTILE_KEYS.items(), ids=repr)
def test_a_hostile_key_is_refused_with_the_rule_it_breaks(store: ObjectStore, key: str, rule: str) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        put(store, key)
    assert f": {rule}. Use a relative path such as 'pictures/0a/0a1b.webp'." in str(caught.value)
    assert len(str(caught.value)) < 300
    for use in (store.get, store.stat, store.delete, store.url):
        with pytest.raises(InvalidKeyError):
            use(key)
    assert keys(store) == []


def test_the_text_of_a_refused_key_quotes_it() -> None:
    with pytest.raises(InvalidKeyError) as caught:
        check_key("../secret")
    assert str(caught.value) == (
        "key '../secret': '.' and '..' are not allowed as parts. Use a relative path such as 'pictures/0a/0a1b.webp'."
    )


@pytest.mark.parametrize("prefix", ["a\0", "a\n", "\ud800", "a" * 901], ids=repr)
def test_a_hostile_prefix_is_refused(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(InvalidKeyError):
        store.list(prefix)


def test_concurrent_writers_of_one_key_never_mix(store: ObjectStore) -> None:
    contents = [bytes([number]) * 300_000 for number in range(6)]
    put(store, "shared", contents[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(store.get("shared"))

    reader = threading.Thread(target=read)
    reader.start()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda data: put(store, "shared", data), contents * 5))
    done.set()
    reader.join()
    assert seen <= set(contents)
    assert store.get("shared") in contents
    assert keys(store) == ["shared"]


def test_concurrent_writers_of_many_keys_lose_none(store: ObjectStore) -> None:
    names = [f"{number % 4}/{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put(store, name, name.encode()), names))
    assert keys(store) == sorted(names)
    assert [store.get(name) for name in names] == [name.encode() for name in names]


def test_a_url_downloads_the_object(store: ObjectStore) -> None:
    put(store, "猫 100% +?#&.txt", "猫".encode())
    assert urllib.request.urlopen(store.url("猫 100% +?#&.txt", expires_s=60)).read() == "猫".encode()


@pytest.mark.parametrize("expires_s", [0, -1, MAX_URL_EXPIRES_S + 1])
def test_a_url_that_lives_too_long_or_short_is_refused(store: ObjectStore, expires_s: int) -> None:
    with pytest.raises(InvalidExpiryError) as caught:
        store.url("a", expires_s=expires_s)
    assert str(caught.value) == f"expires_s {expires_s}: a URL lives 1 to 604800 seconds (7 days)."


def test_check_makes_a_store_that_can_be_used(s3_server: S3Server, tmp_path: Path) -> None:
    s3_settings = s3_server.settings(bucket=f"made-{uuid.uuid4().hex}")
    local_settings = s3_settings.model_copy(update={"kind": "local", "path": tmp_path / "deep" / "store"})
    for store_settings, kind in ((s3_settings, S3ObjectStore), (local_settings, LocalObjectStore)):
        store = open_store(store_settings)
        assert isinstance(store, kind)
        store.check()
        store.check()
        assert keys(store) == []
        put(store, "a")
        assert keys(open_store(store_settings)) == ["a"]


def test_stat_and_list_tell_when_an_object_was_written(store):
    began_s = int(time.time())
    store.put("a/b", b"1", content_type="text/plain")

    for found in (store.stat("a/b"), *store.list()):
        assert began_s <= found.written_s <= time.time() + 1

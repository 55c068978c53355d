"""What only a store behind a network must survive: outages, refusals, cut connections, and URLs in strange hands."""

import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.settings import StoreSettings
from resources.object_store import (
    InvalidKeyError,
    ObjectNotFoundError,
    ObjectStore,
    StoreAccessError,
    StoreError,
    StoreUnavailableError,
)
from resources.open_store import open_store
from resources.s3_store import S3ObjectStore
from tests.support.faulty_network import Relay, closed_port, refusing_server, silent_listener
from tests.support.s3_server import S3Server
from tests.support.web_server import Answer, reply, running_web_server

REPOSITORY = Path(__file__).resolve().parent.parent.parent
USES: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put("a", b"data", content_type="text/plain"),
    "get": lambda store: store.get("a"),
    "stat": lambda store: store.stat("a"),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("a"),
}
USES_AND_CHECK = USES | {"check": lambda store: store.check()}
OUTAGE = "Check that it runs and that IMAGEGENX_STORE__ENDPOINT and IMAGEGENX_STORE__SECURE are right."
BOTH_KEYS = "IMAGEGENX_STORE__ACCESS_KEY and IMAGEGENX_STORE__SECRET_KEY"


def offline_settings(endpoint: str, **changes: object) -> StoreSettings:
    fields: dict[str, object] = {
        "kind": "s3",
        "endpoint": endpoint,
        "secure": False,
        "access_key": "someone",
        "secret_key": "top-secret",
        "connect_timeout_s": 1,
    }
    return StoreSettings.model_validate(fields | changes)


def failure(use: Callable[[ObjectStore], object], store: ObjectStore, kind: type[StoreError]) -> str:
    with pytest.raises(kind) as caught:
        use(store)
    assert type(caught.value) is kind
    text = str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "top-secret" not in shown
    assert "Signature=" not in shown
    return text


def open_url(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as response:
            return int(response.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


@pytest.mark.parametrize("use", USES_AND_CHECK.values(), ids=USES_AND_CHECK)
def test_a_closed_port_is_an_error_in_seconds(use: Callable[[ObjectStore], object]) -> None:
    endpoint = closed_port()
    start = time.monotonic()
    text = failure(use, open_store(offline_settings(endpoint, connect_timeout_s=5)), StoreUnavailableError)
    assert text == f"S3 service at '{endpoint}': no connection (Connection refused). {OUTAGE}"
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("use", USES_AND_CHECK.values(), ids=USES_AND_CHECK)
def test_a_service_that_never_answers_is_an_error_in_seconds(use: Callable[[ObjectStore], object]) -> None:
    with silent_listener() as (endpoint, _):
        start = time.monotonic()
        text = failure(use, open_store(offline_settings(endpoint, connect_timeout_s=0.5)), StoreUnavailableError)
        assert text == f"S3 service at '{endpoint}': no answer in time. {OUTAGE}"
        assert 0.4 < time.monotonic() - start < 5


def test_after_an_outage_every_call_fails_fast_until_the_service_is_back(s3_server: S3Server) -> None:
    with Relay(s3_server.endpoint) as relay:
        store = S3ObjectStore(s3_server.settings(endpoint=relay.endpoint, prefix=uuid.uuid4().hex))
        store.put("a", b"data", content_type="text/plain")
    for _ in range(2):
        start = time.monotonic()
        failure(USES["get"], store, StoreUnavailableError)
        assert time.monotonic() - start < 5


def test_making_a_store_and_a_url_reaches_nothing() -> None:
    with silent_listener() as (endpoint, listener):
        store = open_store(offline_settings(endpoint))
        assert store.url("a").startswith(f"http://{endpoint}/imagegenx/a?")
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello", "but not as S3 does"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nno", "but not as S3 does"),
        (b"HTTP/1.1 400 Bad\r\nContent-Type: application/xml\r\nContent-Length: 2\r\n\r\n<a", "but not as S3 does"),
        (
            b"HTTP/1.1 503 Slow\r\nContent-Type: application/xml\r\nContent-Length: 36\r\nConnection: close\r\n\r\n"
            b"<Error><Code>SlowDown</Code></Error>",
            "it answered SlowDown",
        ),
        (b"", "the connection was cut off"),
    ],
)
def test_a_service_that_is_ill_or_not_s3_is_called_so(answer: bytes, reason: str) -> None:
    with refusing_server(answer) as endpoint:
        start = time.monotonic()
        text = failure(USES["list"], open_store(offline_settings(endpoint)), StoreUnavailableError)
        assert time.monotonic() - start < 5
    assert text.startswith(f"S3 service at '{endpoint}': ")
    assert f"{reason}. {OUTAGE}" in text


class Everywhere(dict[str, Answer]):
    """One answer, whatever is asked for."""

    def get(self, path: str, other: object = None) -> Answer:  # type: ignore[override]
        return self["*"]


@pytest.mark.parametrize("page", [b"<html>Sign in", b"<html><body/></html>", b"\xff\xfe", b""])
@pytest.mark.parametrize("name", [name for name in USES_AND_CHECK if name != "delete"])
def test_a_page_where_s3_should_answer_is_no_object_no_success_and_no_empty_store(name: str, page: bytes) -> None:
    with running_web_server(Everywhere({"*": reply(body=page, content_type="text/html")})) as web:
        text = failure(USES_AND_CHECK[name], open_store(offline_settings(web.netloc)), StoreUnavailableError)
    assert text == f"S3 service at '{web.netloc}': it answers, but not as S3 does. {OUTAGE}"


@pytest.mark.parametrize("name", USES_AND_CHECK)
def test_a_wrong_secret_is_an_error_that_says_what_to_set(s3_server: S3Server, name: str) -> None:
    store = S3ObjectStore(s3_server.settings(secret_key="top-secret"))
    text = failure(USES_AND_CHECK[name], store, StoreAccessError)
    where = f"bucket 'pictures' at '{s3_server.endpoint}'"
    if name == "stat":  # the answer to a HEAD has no body that could tell more
        remedy = f"AccessDenied. Check that {BOTH_KEYS} belong together and may list, read, write and delete there."
    else:
        remedy = f"SignatureDoesNotMatch. {BOTH_KEYS} do not belong together; set both to the service's values."
    assert text == f"{where}: {remedy}"


@pytest.mark.parametrize("name", USES_AND_CHECK)
def test_an_account_without_rights_is_refused(s3_server: S3Server, name: str) -> None:
    S3ObjectStore(s3_server.settings()).put("a", b"data", content_type="text/plain")
    store = S3ObjectStore(s3_server.settings(access_key=s3_server.stranger_key))
    text = failure(USES_AND_CHECK[name], store, StoreAccessError)
    assert text == (
        f"bucket 'pictures' at '{s3_server.endpoint}': AccessDenied. "
        f"Check that {BOTH_KEYS} belong together and may list, read, write and delete there."
    )


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("InvalidAccessKeyId", "The service does not know the access key; set IMAGEGENX_STORE__ACCESS_KEY."),
        ("RequestTimeTooSkewed", "This machine's clock is wrong; set it."),
        ("SomethingNew", "Look this code up in the service's documentation."),
    ],
)
def test_a_refusal_that_swift_does_not_give_is_explained(code: str, remedy: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    head = f"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    with refusing_server(head.encode() + body) as endpoint:
        text = failure(USES["get"], open_store(offline_settings(endpoint)), StoreAccessError)
    assert text == f"bucket 'imagegenx' at '{endpoint}': {code}. {remedy}"


@pytest.mark.parametrize("name", USES)
def test_a_missing_bucket_is_an_error_and_never_an_empty_store(s3_server: S3Server, name: str) -> None:
    store = S3ObjectStore(s3_server.settings(bucket="never-made"))
    assert failure(USES[name], store, StoreAccessError) == (
        f"bucket 'never-made' at '{s3_server.endpoint}': NoSuchBucket. "
        "There is no such bucket; correct IMAGEGENX_STORE__BUCKET, or let check() make it."
    )


def test_a_bucket_name_that_s3_forbids_is_refused(s3_server: S3Server) -> None:
    store = S3ObjectStore(s3_server.settings(bucket="Under_Score"))
    text = failure(USES_AND_CHECK["check"], store, StoreAccessError)
    assert "InvalidBucketName. Set IMAGEGENX_STORE__BUCKET to 3 to 63 of a-z, 0-9, '.' and '-'." in text
    with pytest.raises(StoreAccessError, match="bucket 'a b c'"):
        S3ObjectStore(s3_server.settings(bucket="a b c"))


@pytest.mark.parametrize("endpoint", ["http://localhost:9000", "localhost:9000/path", "local host"])
def test_an_endpoint_that_is_no_host_and_port_is_refused(endpoint: str) -> None:
    with pytest.raises(StoreAccessError) as caught:
        S3ObjectStore(offline_settings(endpoint))
    assert str(caught.value).startswith(f"S3 endpoint '{endpoint}', bucket 'imagegenx', region 'us-east-1': ")
    assert "Set IMAGEGENX_STORE__ENDPOINT to host:port without http://" in str(caught.value)


def test_an_upload_that_is_cut_off_leaves_no_object(s3_server: S3Server) -> None:
    prefix = uuid.uuid4().hex
    with Relay(s3_server.endpoint, upload_bytes=100_000) as relay:
        store = S3ObjectStore(s3_server.settings(endpoint=relay.endpoint, prefix=prefix))
        with pytest.raises(StoreUnavailableError, match="the connection was cut off"):
            store.put("a", b"x" * 1_000_000, content_type="image/png")
        assert relay.spent.is_set()
    sound = S3ObjectStore(s3_server.settings(prefix=prefix))
    assert sound.stat("a") is None
    assert list(sound.list()) == []


def test_an_upload_cut_off_once_is_repeated(s3_server: S3Server) -> None:
    data = b"x" * 1_000_000
    with Relay(s3_server.endpoint, upload_bytes=100_000, faulty_connections=1) as relay:
        store = S3ObjectStore(s3_server.settings(endpoint=relay.endpoint, prefix=uuid.uuid4().hex))
        store.put("a", data, content_type="image/png")
        assert relay.connections == 2
        assert store.get("a") == data


def test_a_download_cut_off_once_is_repeated_and_never_short(s3_server: S3Server) -> None:
    prefix, data = uuid.uuid4().hex, b"x" * 1_000_000
    S3ObjectStore(s3_server.settings(prefix=prefix)).put("a", data, content_type="image/png")
    with Relay(s3_server.endpoint, download_bytes=100_000, faulty_connections=1) as relay:
        assert S3ObjectStore(s3_server.settings(endpoint=relay.endpoint, prefix=prefix)).get("a") == data
    with Relay(s3_server.endpoint, download_bytes=100_000) as relay:
        store = S3ObjectStore(s3_server.settings(endpoint=relay.endpoint, prefix=prefix))
        with pytest.raises(StoreUnavailableError, match="the connection was cut off"):
            store.get("a")


@pytest.mark.parametrize("size_bytes", [1_000_000, 40_000_000], ids=["one request", "parts"])
def test_an_uploader_killed_in_mid_upload_leaves_no_object(s3_server: S3Server, size_bytes: int) -> None:
    prefix = uuid.uuid4().hex
    code = (
        "from configs.settings import load_settings\nfrom resources.open_store import open_store\n"
        f"open_store(load_settings().store).put('a', b'x' * {size_bytes}, content_type='image/png')\n"
    )
    with Relay(s3_server.endpoint, upload_bytes=size_bytes // 4, stall=True) as relay:
        environment = s3_server.environment() | {
            "IMAGEGENX_STORE__ENDPOINT": relay.endpoint,
            "IMAGEGENX_STORE__PREFIX": prefix,
        }
        with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, env=environment) as process:
            assert relay.spent.wait(60)
            assert process.poll() is None
            process.kill()
    sound = S3ObjectStore(s3_server.settings(prefix=prefix))
    assert sound.stat("a") is None
    assert list(sound.list()) == []


def test_a_tampered_url_is_refused(s3_store: S3ObjectStore) -> None:
    s3_store.put("a", b"mine", content_type="text/plain")
    s3_store.put("b", b"other", content_type="text/plain")
    url = s3_store.url("a", expires_s=60)
    assert open_url(url) == 200
    assert open_url(url.replace("/a?", "/b?")) == 403
    assert open_url(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")) == 403
    last = "0" if url[-1] != "0" else "1"
    assert open_url(url[:-1] + last) == 403
    assert open_url(url.split("?")[0]) >= 400


def test_a_url_ends_with_its_life(s3_store: S3ObjectStore) -> None:
    s3_store.put("a", b"mine", content_type="text/plain")
    url = s3_store.url("a", expires_s=1)
    time.sleep(2.1)
    assert open_url(url) == 403


def test_a_url_lives_as_long_as_configured(s3_server: S3Server) -> None:
    assert "X-Amz-Expires=604800&" in S3ObjectStore(s3_server.settings()).url("a")
    assert "X-Amz-Expires=3600&" in S3ObjectStore(s3_server.settings(url_expires_s=3600)).url("a")


def test_an_object_has_the_content_type_it_was_given(s3_store: S3ObjectStore) -> None:
    s3_store.put("a", b"mine", content_type="image/webp")
    with urllib.request.urlopen(s3_store.url("a")) as response:
        assert response.headers["Content-Type"] == "image/webp"


def test_two_prefixes_are_two_stores(s3_server: S3Server) -> None:
    root = uuid.uuid4().hex
    whole, part = (S3ObjectStore(s3_server.settings(prefix=prefix)) for prefix in (root, f"/{root}/team/"))
    part.put("a", b"data", content_type="text/plain")
    whole.put("team-b", b"data", content_type="text/plain")
    assert [found.key for found in part.list()] == ["a"]
    assert [found.key for found in whole.list()] == ["team-b", "team/a"]
    with pytest.raises(ObjectNotFoundError):
        part.get("team/a")
    with pytest.raises(InvalidKeyError):
        S3ObjectStore(s3_server.settings(prefix="../escape"))

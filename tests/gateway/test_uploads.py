"""Uploaded pictures, and the limits of bodies."""

import json
import select
import socket
import struct
import threading
import uuid
import zlib
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from gateway import http_face, uploads
from gateway.errors import ServiceError
from gateway.form_room import FORMS_AT_ONCE
from gateway.http_server import FIRST_BYTES
from gateway.main import open_service
from resources.queue import QueueFullError
from tests.support.costly_pictures import many_scans, png_with, webp_header
from tests.support.painter import encoded
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
REQUEST = {"request": json.dumps({"text": "a mug", "params": {"resolution": "128×128"}})}
PICTURE = encoded(Image.new("RGB", (64, 48), "teal"), "jpg")


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def test_an_uploaded_picture_is_stored_for_the_serving_run(client, service) -> None:
    answer = client.post(GENERATE, data=REQUEST, files={"image": ("a.jpg", PICTURE), "mask": ("m", PICTURE)})
    assert answer.status_code == 200, answer.text
    request = service.queue.task(answer.json()["data"]["task_id"]).request
    assert request["image_url"] == request["mask_url"]
    assert request["image_url"].startswith("store:uploads/")
    assert request["image_url"].endswith(".jpg")
    assert service.store.get(request["image_url"].removeprefix("store:")) == PICTURE


def test_an_upload_sent_again_after_midnight_is_the_same_call(client, monkeypatch) -> None:
    def send(day: str, picture: bytes = PICTURE) -> httpx.Response:
        monkeypatch.setattr(uploads, "_day", lambda: day)
        headers = {"Idempotency-Key": "order-24"}
        return client.post(GENERATE, data=REQUEST, files={"image": ("a.jpg", picture)}, headers=headers)

    first, again = send("20261127"), send("20261128")
    other = send("20261128", encoded(Image.new("RGB", (64, 48), "gold"), "jpg"))
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 409)
    assert first.json()["data"]["task_id"] == again.json()["data"]["task_id"]


@pytest.mark.parametrize(
    ("picture", "rule"),
    [
        (bomb(12_000, 12_000), "144,000,000 pixels are above the maximum of 33,554,432"),
        (bomb(30_000, 30_000), "900,000,000 pixels are above the maximum"),
        (b"GIF89a but no more", "damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not one of"),
        (b"", "is not one of"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_field(client, picture, rule) -> None:
    answer = client.post(GENERATE, data=REQUEST, files={"image": ("a.png", picture)})
    assert answer.status_code == answer.json()["code"] == 422
    (problem,) = answer.json()["data"]["problems"]
    assert problem["field"] == "image"
    assert rule in problem["rule"]


@pytest.mark.parametrize(
    ("data", "files", "code"),
    [
        (REQUEST, {"picture": ("a.jpg", PICTURE)}, 422),
        ({"request": '{"text": "a", "image_url": "https://example.com/a.png"}'}, {"image": ("a.jpg", PICTURE)}, 422),
        ({"request": "{"}, {"image": ("a.jpg", PICTURE)}, 400),
        ({"request": "[]"}, {"image": ("a.jpg", PICTURE)}, 422),
        ({}, {"image": ("a.jpg", PICTURE)}, 422),
        ({"request": ["{}", "{}"]}, {"image": ("a.jpg", PICTURE)}, 422),
        ({**REQUEST, **{f"f{n}": "x" for n in range(60)}}, {"image": ("a.jpg", PICTURE)}, 400),
    ],
)
def test_a_malformed_form_is_refused(client, data, files, code) -> None:
    answer = client.post(GENERATE, data=data, files=files)
    assert answer.status_code == answer.json()["code"] == code


def test_a_form_that_is_no_form_is_refused(client) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    assert client.post(GENERATE, content=b"x", headers=headers).status_code == 400
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post(GENERATE, content=b"--x\r\n", headers=headers).status_code in (400, 422)


def test_a_body_beyond_the_limit_is_refused_without_reading_all_of_it(client) -> None:
    big = client.post(GENERATE, content=b'{"text": "' + b"a" * 1_000_001 + b'"}')
    assert big.status_code == big.json()["code"] == 413
    assert big.json()["message"] == "The body is above the maximum of 1,000,000 bytes."
    assert client.get("/api/v1/models").status_code == 200


def test_a_body_of_unknown_length_is_cut_off_too(client) -> None:
    def chunks():
        for _ in range(50):
            yield b"a" * 100_000

    with suppress(httpx.WriteError, httpx.RemoteProtocolError):  # the server may hang up while we still send
        assert client.post(GENERATE, content=chunks()).status_code == 413
    assert client.get("/api/v1/models").status_code == 200


def test_a_file_beyond_the_limit_is_refused(client) -> None:
    answer = client.post(GENERATE, data=REQUEST, files={"image": ("a.png", b"\x89PNG" + bytes(20_000_001))})
    assert answer.status_code == answer.json()["code"] == 413
    assert "20,000,005 bytes are above the maximum of 20,000,000" in answer.json()["message"]


def test_a_refused_request_leaves_no_picture_behind(gateway, client, service, settings) -> None:
    def upload(number: int, request: dict, headers: dict | None = None, **files: bytes) -> httpx.Response:
        picture = encoded(Image.new("RGB", (50, 50 + number), "teal"), "png")
        given = {"image": ("a", picture)} | {name: (name, data) for name, data in files.items()}
        return client.post(GENERATE, data={"request": json.dumps(request)}, files=given, headers=headers)

    mug = {"text": "a mug", "params": {"resolution": "128×128"}}
    upload(0, mug, {"Idempotency-Key": "one"})
    before = {found.key for found in service.store.list("uploads/")}
    refused = [
        upload(1, {**mug, "params": {"steps": 0}}),
        upload(2, {**mug, "model_type": "none"}),
        upload(3, {**mug, "callback_url": "http://127.0.0.1/"}),
        upload(4, mug, mask=b"no picture"),
        upload(5, mug, {"Idempotency-Key": "one"}),
        upload(6, mug, {"Idempotency-Key": "x" * 300}),
    ]
    assert [answer.status_code for answer in refused] == [422, 422, 422, 422, 409, 422]
    assert {found.key for found in service.store.list("uploads/")} == before
    assert upload(0, mug, {"Idempotency-Key": "one"}).status_code == 200


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_waiting": 1}, 503), ({"max_owner_upload_bytes": 1_000_000}, 429), ({"max_owner_tasks": 1}, 429)],
)
def test_without_room_for_a_request_its_picture_is_not_stored(settings, limits, code, tmp_path) -> None:
    queue = settings.queue.model_copy(update={"namespace": f"test-{uuid.uuid4().hex}", **limits})
    store = settings.store.model_copy(update={"path": tmp_path})
    service = open_service(settings.model_copy(update={"queue": queue, "store": store}))
    account = service.recognise(service.accounts.create("ada"))
    data = {"text": "a mug", "params": {"resolution": "128×128"}}
    service.submit(account, data, pictures={"image_url": PICTURE})
    with pytest.raises(ServiceError) as refused:
        service.submit(account, data, pictures={"image_url": big_png(1_000_000)})
    assert refused.value.code == code
    assert refused.value.retry_after_s >= 1
    assert [service.store.get(found.key) for found in service.store.list("uploads/")] == [PICTURE]
    service.queue.close()


def test_a_picture_whose_request_is_refused_at_the_last_moment_goes_again(service, user, monkeypatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise QueueFullError(1, 2)

    account = service.recognise(service.accounts.create(user))
    before = {found.key for found in service.store.list("uploads/")}
    monkeypatch.setattr(service.queue, "submit", refuse)
    for picture in (big_png(10), big_png(20)):
        with pytest.raises(ServiceError, match="1 requests wait already"):
            service.submit(account, {"text": "a mug"}, pictures={"image_url": picture})
    assert {found.key for found in service.store.list("uploads/")} == before


def test_a_gateway_that_refuses_a_picture_leaves_what_another_has_taken_meanwhile(service, user, monkeypatch) -> None:
    other = open_service(service.settings)
    account = service.recognise(service.accounts.create(user))
    pictures, taken = {"image_url": big_png(30)}, []
    beside = threading.Thread(
        target=lambda: taken.append(other.submit(account, {"text": "a mug"}, pictures=pictures).request["image_url"])
    )
    tell_room, original = threading.Event(), other.queue.room

    def tell(*args: object, **options: object) -> object:
        tell_room.set()
        return original(*args, **options)

    def refuse(*args: object, **options: object) -> None:
        beside.start()
        assert tell_room.wait(60)
        beside.join(0.3)  # the other gateway is as far as it comes
        raise QueueFullError(1, 2)

    monkeypatch.setattr(other.queue, "room", tell)
    monkeypatch.setattr(service.queue, "submit", refuse)
    with pytest.raises(ServiceError, match="1 requests wait already"):
        service.submit(account, {"text": "a mug"}, pictures=pictures)
    beside.join()
    (reference,) = taken
    assert service.store.get(reference.removeprefix("store:")) == pictures["image_url"]
    other.queue.close()


def big_png(padding: int) -> bytes:
    """A picture with a chunk that nobody reads before its end."""
    data = encoded(Image.new("RGB", (64, 64), "gold"), "png")
    chunk = struct.pack(">I", padding) + b"prVt" + bytes(padding)
    return data[:-12] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[-12:]


def test_without_a_key_no_file_is_stored(gateway, service) -> None:
    picture = encoded(Image.new("RGB", (33, 33), "gold"), "png")
    answer = httpx.post(gateway.url + GENERATE, data=REQUEST, files={"image": ("a.png", picture)})
    assert answer.status_code == 401
    assert not any(service.store.get(found.key) == picture for found in service.store.list("uploads/"))


_BEGUN = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + bytes(FIRST_BYTES)


@contextmanager
def sending(gateway, path: str, key: str, kind: str, length: int):
    """A call whose headers, and only the first bytes of the body they promise, are sent."""
    where = urlsplit(gateway.url)
    head = f"POST {path} HTTP/1.1\r\nHost: {where.netloc}\r\nX-API-Key: {key}\r\nContent-Type: {kind}\r\n"
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + _BEGUN)
        yield connection


def status(connection: socket.socket) -> int:
    return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize(
    "path", [GENERATE, "/api/v1/image/batch-generate", "/v1/images/generations", "/v1/images/edits"]
)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_a_wrong_key_is_refused_before_the_body_is_read(gateway, path, kind) -> None:
    with sending(gateway, path, "igx_wrong", kind, 60_000_000) as connection:
        assert status(connection) == (401 if path.startswith("/v1/") else 403)


@pytest.mark.parametrize("path", ["/api/v1/image/batch-generate", "/v1/images/generations", "/v1/nothing"])
def test_a_path_that_takes_no_form_reads_no_more_than_of_json(gateway, key, path) -> None:
    with sending(gateway, path, key, "multipart/form-data; boundary=b", 60_000_000) as connection:
        with suppress(OSError):  # the server may hang up while we still send
            connection.sendall(bytes(1_100_000))
        assert status(connection) == (404 if path == "/v1/nothing" else 413)


def test_forms_beyond_the_room_for_them_are_asked_to_come_back(gateway, key, client, stranger) -> None:
    upload = {"data": REQUEST, "files": {"image": ("a.jpg", PICTURE)}}
    kind, length = "multipart/form-data; boundary=b", 61_100_000
    with ExitStack() as stack:
        sent = [
            stack.enter_context(sending(gateway, GENERATE, key, kind, length)) for _ in range(FORMS_AT_ONCE // 2 + 1)
        ]
        (over,), _, _ = select.select(sent, [], [], 20)
        assert status(over) == 503
        refused = client.post(GENERATE, **upload)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["message"] == "Too many pictures are being uploaded at once. Send yours again."
        assert client.post(GENERATE, json={"text": "a mug"}).status_code == 200
        assert stranger.post(GENERATE, **upload).status_code == 200
        sent.remove(over)
        assert select.select(sent, [], [], 0)[0] == []
    wait_until(lambda: client.post(GENERATE, **upload).status_code == 200)


def test_a_form_that_does_not_arrive_is_given_up(gateway, key, monkeypatch) -> None:
    monkeypatch.setattr(http_face, "FORM_TIMEOUT_S", 0.2)
    with sending(gateway, GENERATE, key, "multipart/form-data; boundary=b", 60_000) as connection:
        assert status(connection) == 408


WEIGHTY = png_with(
    (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000))),
    (b"iCCP", b"junk\0\0" + zlib.compress(bytes(2_000_000))),
)


@pytest.mark.parametrize("path", [GENERATE, "/v1/images/edits"])
def test_pictures_that_cost_more_than_their_bytes_are_refused_while_others_are_served(gateway, client, path) -> None:
    costly = many_scans(3000)
    ours = path == GENERATE
    form = REQUEST if ours else {"prompt": "a mug", "size": "128x128"}
    files = {"image": ("a.jpg", costly if ours else PICTURE), "mask": ("m.jpg", costly)}
    answers: list[httpx.Response] = []

    def send() -> None:
        answers.append(client.post(path, data=form, files=files))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert httpx.get(f"{gateway.url}/health", timeout=60).status_code == 200
    assert {answer.status_code for answer in answers} == {422 if ours else 400}
    assert all("has more than 50 scans" in answer.text for answer in answers)


def test_all_pictures_of_a_form_share_one_limit_of_pixels(client) -> None:
    large = webp_header(5_000, 5_000)
    answer = client.post(GENERATE, data=REQUEST, files={"image": ("a.webp", large), "mask": ("m.webp", large)})
    assert answer.status_code == 422
    assert "more than the maximum of 33,554,432 pixels together" in answer.text


def test_metadata_of_any_size_makes_a_picture_no_worse(client) -> None:
    answer = client.post(GENERATE, data=REQUEST, files={"image": ("a.png", WEIGHTY)})
    assert answer.status_code == 200, answer.text

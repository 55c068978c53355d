"""Uploaded pictures, and the limits of bodies."""

import json
import struct
import zlib
from contextlib import suppress

import httpx
import pytest
from PIL import Image

from tests.gateway.painter import encoded

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


@pytest.mark.parametrize(
    ("picture", "rule"),
    [
        (bomb(12_000, 12_000), "144,000,000 pixels are above the maximum of 64,000,000"),
        (bomb(30_000, 30_000), "too large to decode"),
        (b"GIF89a but no more", "damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not one of"),
        (b"", "is not one of"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_field(client, picture, rule) -> None:
    answer = client.post(GENERATE, data=REQUEST, files={"image": ("a.png", picture)})
    assert answer.status_code == answer.json()["code"] == 422
    (problem,) = answer.json()["data"]["problems"]
    assert problem["field"] == "image_url"
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


def test_without_a_key_no_file_is_stored(gateway, service) -> None:
    picture = encoded(Image.new("RGB", (33, 33), "gold"), "png")
    answer = httpx.post(gateway.url + GENERATE, data=REQUEST, files={"image": ("a.png", picture)})
    assert answer.status_code == 401
    assert not any(service.store.get(found.key) == picture for found in service.store.list("uploads/"))

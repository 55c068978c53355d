"""Input that can be foreseen: each is answered with its own code, and no call fails inside the gateway."""

import json
import logging
import socket
from urllib.parse import quote, urlsplit

import httpx
import pytest

from gateway.http_server import FIRST_BYTES
from tests.support.painter import drawn, encoded
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
MUG = {"text": "a red mug", "params": {"resolution": "128×96"}}
LONG = "f" * 5_000
ODD = (
    "9" * 5_000,
    "-" + "9" * 400,
    "1e999",
    "nan",
    "\u0661\u0662",
    "\u00b2",
    "1_0",
    "0x10",
    "\0",
    "",
    " ",
    LONG,
    "\ud800",
    "%",
    "[",
)


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/image/tasks?limit={}",
        "/api/v1/image/tasks?before={}",
        "/api/v1/image/file/img_a/original?number={}",
        "/api/v1/image/file/img_a/original?token={}",
        "/api/v1/image/file/img_a/original?token={}.YQ.AAAAAAAAAAAAAAAAAAAAAA",
        "/api/v1/image/file/img_a/original?token=f.{}.AAAAAAAAAAAAAAAAAAAAAA",
        "/api/v1/image/file/img_a/{}",
        "/api/v1/image/file/{}/thumb",
        "/api/v1/image/task/{}",
        "/api/v1/image/task/{}/events",
        "/api/v1/image/batch-task/{}",
        "/page/{}",
    ],
)
def test_odd_values_in_paths_and_queries_are_answered(client, path, odd) -> None:
    url = path.format(quote(odd, safe="", errors="surrogatepass"))
    for headers in ({}, {"X-API-Key": ""}):
        answer = client.get(url, headers=headers)
        assert answer.status_code in (200, 400, 401, 403, 404, 422), answer.text
        assert answer.json()["code"] == answer.status_code


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"text": "a hat", "text": "a mug"}', "'text' is given twice"),
        ('{"text": "a", "params": {"steps": 1, "seed": 2, "steps": 9}}', "'steps' is given twice"),
        (
            f'{{"text": "a", "params": {{"seed": {ODD[0]}}}}}',
            "Exceeds the limit (4300 digits) for integer string conversion: value has",
        ),
    ],
)
def test_json_of_which_two_things_may_be_meant_is_refused(client, body, reason) -> None:
    for path in (GENERATE, "/v1/images/generations"):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert f"The body is not JSON: {reason}" in answer.text
        assert "sys." not in answer.text


HALF = "a\ud800"
MARK = {"enable": True, "text": "mine"}
IN_PARAMS = (
    *({name: HALF} for name in ("resolution", "sampler", "lora_name", "negative_text", "schedule", "seed", HALF)),
    {"loras": [{"name": HALF, "weight": 1}]},
    *({"post_process": {name: HALF}} for name in ("super_resolution", "format", HALF)),
    *({"post_process": {"watermark": {**MARK, name: HALF}}} for name in ("text", "font", "color", "position", "type")),
)
HALVES = (
    *(("generate", {**MUG, "params": {**MUG["params"], **params}}) for params in IN_PARAMS),
    *(("generate", {**MUG, name: HALF}) for name in ("model_type", "image_url", "callback_url", "priority", HALF)),
    ("generate", {**MUG, "metadata": {"order": HALF}}),
    ("generate", {**MUG, "metadata": {HALF: "1"}}),
    ("batch-generate", {"texts": ["a mug", HALF]}),
    ("batch-generate", {"texts": ["a mug"], "metadata": {"order": HALF}}),
    ("batch-generate", {"items": [{"text": "a mug", "model_type": HALF}]}),
)


@pytest.mark.parametrize(("call", "body"), HALVES, ids=range(len(HALVES)))
def test_half_a_character_is_refused_wherever_it_is(client, call, body) -> None:
    answer = client.post(
        f"/api/v1/image/{call}", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422, (answer.status_code, answer.text)


@pytest.mark.parametrize(
    ("field", "given"), [("n", "\uff11"), ("n", "1_0"), ("seed", " 7"), ("steps", "0x1"), ("cfg_scale", "1_0.0")]
)
def test_numbers_of_a_form_are_those_of_json(client, field, given) -> None:
    form = {"prompt": "a mug", "strength": "0.5", field: given}
    picture = encoded(drawn("a mug", 96, 96), "png")
    answer = client.post("/v1/images/edits", data=form, files={"image": ("a.png", picture)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field), answer.text


def test_a_link_token_of_thousands_of_digits_is_no_token(gateway) -> None:
    for digits in (3_571, 3_572, 5_000):
        token = f"{LONG[:digits]}.YQ.AAAAAAAAAAAAAAAAAAAAAA"
        answer = httpx.get(f"{gateway.url}/api/v1/image/file/img_a/original", params={"token": token})
        assert (answer.status_code, answer.json()["code"]) == (403, 403)
        assert answer.json()["message"].startswith("This is not a token of a picture URL. Ask for the task again")


@pytest.mark.parametrize(
    "name", ["Host", "Content-Type", "Idempotency-Key", "Authorization", "X-API-Key", "Last-Event-ID"]
)
@pytest.mark.parametrize(
    "odd", ["[", "a:b:c", "\u00b2".encode("latin-1"), b"\xff\xfe", LONG, "multipart/form-data", "bearer"]
)
def test_odd_headers_are_answered(client, name, odd) -> None:
    answer = client.post(GENERATE, json=MUG, headers={name: odd})
    assert answer.status_code in (200, 400, 401, 403, 422), answer.text


@pytest.mark.parametrize(
    "name", ["Host", "Forwarded", "X-Forwarded-Host", "Origin", "Referer", "Cookie", "Range", "Accept"]
)
@pytest.mark.parametrize("odd", ["[", "[::1", "a:99999999", "http://[", b"\xff\xfe", "bytes=9-1,a-", ";=", LONG])
def test_no_route_fails_for_an_odd_header(gateway, key, name, odd) -> None:
    paths = ["/", "/page/key", "/health", "/health/", "/nothing", "/v1/models", "/v1/nothing", "/api/v1/image/tasks"]
    with httpx.Client(base_url=gateway.url, headers={"X-API-Key": key}, timeout=60) as client:
        for path in paths:
            for method in ("GET", "POST"):
                answer = client.request(method, path, headers={name: odd})
                assert answer.status_code < 500, answer.text


@pytest.mark.parametrize("field", ["image_url", "mask_url", "control_image_url", "callback_url"])
@pytest.mark.parametrize(
    "url", ["http://xn--a/", "http://xn--/", "http://[/", "http://[::1%25a]/", "http://a:99999/", "http://\u2488/"]
)
def test_a_url_that_is_none_is_refused_with_its_field(client, field, url) -> None:
    answer = client.post(GENERATE, json={**MUG, field: url})
    assert answer.status_code == 422, answer.text
    assert field in {problem["field"] for problem in answer.json()["data"]["problems"]}


def hang_up(gateway, key, sent_bytes: int) -> int:
    """Send so much of a longer body to every call that takes one, and hang up; returns how many there were."""
    where = urlsplit(gateway.url)
    json, form = "application/json", "multipart/form-data; boundary=b"
    paths = {GENERATE: (json, form), "/api/v1/image/batch-generate": (json, form), "/v1/images/edits": (form,)}
    calls = [(path, kind) for path, kinds in paths.items() for kind in kinds]
    for path, kind in calls:
        with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Type: {kind}\r\n"
            connection.sendall(f"{head}Content-Length: 99999\r\n\r\n--b\r\n".encode() + b"x" * sent_bytes)
    return len(calls)


def test_a_client_that_hangs_up_mid_body_is_no_failure(gateway, key, client, caplog) -> None:
    caplog.set_level(logging.INFO)
    hang_up(gateway, key, sent_bytes=100)
    begun = hang_up(gateway, key, sent_bytes=2 * FIRST_BYTES)
    wait_until(lambda: caplog.text.count(" 499 ") == begun)
    assert client.get("/api/v1/models").status_code == 200
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/v1/image/task/img_a", "DELETE, GET"),
        ("PUT", "/api/v1/image/file/img_a/thumb", "GET, HEAD"),
        ("DELETE", "/health", "GET, HEAD"),
        ("GET", GENERATE, "POST"),
    ],
)
def test_a_method_that_is_not_taken_is_told_all_that_are(gateway, method, path, allowed) -> None:
    answer = httpx.request(method, gateway.url + path)
    assert answer.status_code == answer.json()["code"] == 405
    assert answer.headers["allow"] == allowed

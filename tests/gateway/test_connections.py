"""Connections that hold places, send without an end, or never say what they want: they keep nobody else out."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from gateway import http_server
from gateway.connections import client_of
from gateway.http_server import FIRST_BYTES, MAX_HEAD_BYTES, HttpLimits
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.waiting import wait_until

MOST = 12
HALF_HEAD = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
HALF_BODY = b"POST /api/v1/image/generate HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
WHOLE = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def gateway(service) -> Iterator[RunningGateway]:
    """A gateway with few places."""
    with running_gateway(service, HttpLimits(MOST, MOST, grace_s=2)) as gateway:
        yield gateway


def connected(gateway: RunningGateway, sent: bytes = b"") -> socket.socket:
    where = urlsplit(gateway.url)
    connection = socket.create_connection((where.hostname, where.port), timeout=60)
    with suppress(OSError):  # the server may hang up while we still send
        connection.sendall(sent)
    return connection


def answered(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def is_reset(connection: socket.socket) -> bool:
    try:
        connection.send(b"G")
    except OSError:
        return True
    return False


def refusal(connection: socket.socket) -> tuple[int, str]:
    head, _, body = answered(connection).partition(b"\r\n\r\n")
    assert b"Connection: close" in head
    data = json.loads(body)
    assert data["code"] == int(head.split()[1])
    return data["code"], data["message"]


@pytest.mark.parametrize("sent", [b"", HALF_HEAD, HALF_BODY, HALF_BODY.replace(b"{", b"")], ids=range(4))
def test_connections_that_never_send_all_of_a_request_keep_nobody_out(gateway, sent) -> None:
    with ExitStack() as held:
        idle = [held.enter_context(connected(gateway, sent)) for _ in range(5 * MOST)]
        for _ in range(3):
            assert httpx.get(f"{gateway.url}/livez", timeout=60).status_code == 200
        assert answered(idle[0]).startswith((b"", b"HTTP/1.1 401"))


def test_a_request_whose_body_does_not_come_is_not_looked_at(gateway, key, caplog) -> None:
    head = f"POST /api/v1/image/generate HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n".encode()
    rests = (
        b"Content-Length: 100\r\n\r\n{",
        b"Content-Length: 90000\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    )
    with caplog.at_level("INFO", "gateway.guard"):
        for rest in rests:
            with connected(gateway, head + rest) as connection:
                connection.shutdown(socket.SHUT_WR)
                assert answered(connection) in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
        assert httpx.get(f"{gateway.url}/livez", timeout=60).status_code == 200
        wait_until(lambda: caplog.records)  # an answer is logged once it is out
    assert [record.getMessage()[:15] for record in caplog.records] == ["GET /livez 200 "]


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_request_is_looked_at_once_its_body_is_there_or_has_well_begun(gateway, key, expect) -> None:
    head = f"POST /api/v1/image/generate HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n".encode() + expect
    body = json.dumps({"text": "a mug"}).encode()
    with connected(gateway, head + b"Content-Length: %d\r\n\r\n" % len(body)) as connection:
        if expect:
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for half in (body[:5], body[5:]):
            connection.sendall(half)
        assert connection.recv(12) == b"HTTP/1.1 200"
    head = head.replace(key.encode(), b"igx_wrong")
    with connected(gateway, head + b"Content-Length: 90000\r\n\r\n") as connection:
        if expect:
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b" " * FIRST_BYTES)
        assert connection.recv(12) == b"HTTP/1.1 403"


def test_calls_under_way_do_not_make_way(gateway, key, client) -> None:
    task_id = client.post("/api/v1/image/generate", json={"text": "a mug"}).json()["data"]["task_id"]
    client.close()
    stream = f"GET /api/v1/image/task/{task_id}/events HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode()
    with ExitStack() as held:
        streams = [held.enter_context(connected(gateway, stream)) for _ in range(MOST)]
        assert all(one.recv(12) == b"HTTP/1.1 200" for one in streams)
        with connected(gateway, WHOLE) as late:
            assert refusal(late) == (503, "Too many connections are open. Close some, or try again later.")
        # The metrics have a port of their own.
        refused = 'imagegenx_http_seconds_count{method="",route="connection",status="503"} '
        wait_until(lambda: refused in httpx.get(gateway.metrics_url, timeout=60).text)
    wait_until(lambda: httpx.get(f"{gateway.url}/livez", timeout=60).status_code == 200)


@pytest.mark.parametrize(
    ("sent", "code", "rule"),
    [
        (b"GET / HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 102, 431, "A request may have at most 100 headers."),
        (b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"a" * 500_000, 431, "above the maximum of 32,768 bytes"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(40)), 431, "above the max"),
        (b"GET /" + b"a" * (MAX_HEAD_BYTES + 1), 431, "above the maximum of 32,768 bytes"),
        (b"GET /" + b"a" * (MAX_HEAD_BYTES + 1) + b" HTTP/1.1\r\n\r\n", 431, "above the maximum of 32,768 bytes"),
        (b"\r\n" * MAX_HEAD_BYTES, 431, "above the maximum of 32,768 bytes"),
        (b"GET / HTTP/9\r\n\r\n", 400, "This is not a valid HTTP request."),
        (b"\x16\x03\x01\x02\x00\x01", 400, "This is not a valid HTTP request."),
    ],
    ids=range(8),
)
def test_headers_beyond_the_limits_are_refused(gateway, sent, code, rule) -> None:
    with connected(gateway, sent) as connection:
        told, message = refusal(connection)
    assert told == code
    assert rule in message


@pytest.mark.parametrize(
    "rest",
    [b"1;" + b"a" * 200_000, b"1\r\n{\r\n0\r\n" + b"X-Many: 1\r\n" * 20_000, b"1\r\n{\r\n0\r\nX: " + b"a" * 200_000],
)
def test_what_surrounds_the_chunks_of_a_body_is_limited_too(gateway, rest) -> None:
    head = b"POST /api/v1/image/generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(gateway, head + rest) as connection:
        assert answered(connection)[:12] in (b"", b"HTTP/1.1 431", b"HTTP/1.1 401")


def test_a_header_without_an_end_is_cut_off(gateway) -> None:
    sent = 0
    with connected(gateway, b"GET / HTTP/1.1\r\nX: ") as connection, suppress(OSError):
        while sent < 50_000_000:
            sent += connection.send(b"a" * 65_536)
    assert sent < 50_000_000


def test_requests_far_ahead_of_their_answers_are_cut_off(gateway) -> None:
    with connected(gateway, 2_000 * WHOLE) as connection:
        assert answered(connection).count(b"HTTP/1.1 200") < 100
    with connected(gateway, 10 * WHOLE) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert answered(connection).count(b"HTTP/1.1 200") >= 1


def test_requests_that_do_not_arrive_in_time_are_given_up(gateway, monkeypatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http_server, "BODY_TIMEOUT_S", 0.3)
    with connected(gateway) as idle, connected(gateway, HALF_HEAD) as head:
        assert answered(idle) == b""
        assert refusal(head) == (408, "The request did not arrive in time. Send it again.")
    with connected(gateway, HALF_BODY) as body:
        assert refusal(body) == (408, "The request did not arrive in time. Send it again.")
    with connected(gateway, WHOLE) as kept:
        assert answered(kept).startswith(b"HTTP/1.1 200")


def test_a_drip_does_not_lengthen_the_time(gateway, monkeypatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT_S", 0.5)
    with connected(gateway, HALF_HEAD) as connection:
        connection.settimeout(0.05)
        for _ in range(600):
            with suppress(TimeoutError):
                assert connection.recv(4096)[:12] in (b"HTTP/1.1 408", b"")
                return
            with suppress(OSError):
                connection.sendall(b"X: 1\r\n" if _ % 10 == 0 else b"")
    pytest.fail("the connection stayed open for 30 s")


def test_a_client_that_does_not_read_its_answer_is_given_up(gateway, monkeypatch) -> None:
    monkeypatch.setattr(http_server, "UNREAD_TIMEOUT_S", 0.3)
    request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        where = urlsplit(gateway.url)
        connection.connect((where.hostname, where.port))
        connection.sendall(10 * request)
        wait_until(lambda: is_reset(connection))


def test_who_would_speak_another_protocol_is_answered_in_this_one(gateway) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "YQ==",
        "Sec-WebSocket-Version": "13",
    }
    assert httpx.get(f"{gateway.url}/livez", headers=headers, timeout=60).status_code == 200


@pytest.mark.parametrize("framing", ["Content-Length: 12", "Transfer-Encoding: chunked"])
def test_the_body_of_who_would_speak_http_2_is_read(gateway, service, framing) -> None:
    """As Java's client sends its first request."""
    body = b"c\r\n" + b'{"text": 12}' + b"\r\n0\r\n\r\n" if "chunked" in framing else b'{"text": 12}'
    head = [f"POST /api/v1/image/generate HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n{framing}"]
    head += ["Host: a", "HTTP2-Settings: AAEAAEAA", "Upgrade: h2c", f"X-API-Key: {service.accounts.create('duke')}"]
    last = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

    with connected(gateway, "\r\n".join([*head, "", ""]).encode() + body + last) as connection:
        said = answered(connection)

    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"422", b"200"], said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_a_network_of_ipv6_is_one_client(one, other, same) -> None:
    assert (client_of(one) == client_of(other)) is same

"""Streams of events: so many per API key, and a place is free again once its client has gone."""

import json
import socket
import uuid
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.main import open_service
from tests.support.waiting import wait_until

MOST = 2
MUG = {"text": "a red mug", "params": {"resolution": "128×96"}}


@pytest.fixture(scope="module")
def service(settings):
    gateway = settings.gateway.model_copy(update={"max_event_streams": MOST})
    service = open_service(settings.model_copy(update={"gateway": gateway}))
    yield service
    service.queue.close()


@pytest.fixture
def events(client):
    """The path of the events of a task that waits."""
    return f"/api/v1/image/task/{submitted(client)}/events"


def submitted(client):
    return client.post("/api/v1/image/generate", json=MUG).json()["data"]["task_id"]


def open_streams(clients, client, path):
    """Opens as many as may be; they stay open until `clients` is closed."""
    for _ in range(MOST):
        stream = clients.enter_context(client.stream("GET", path))
        assert stream.status_code == 200


def tried(client, path):
    """The answer to one stream more; closed at once if it opens."""
    with client.stream("GET", path) as stream:
        if stream.status_code != 200:
            stream.read()
        return stream


def updated_ms(service, task_id):
    return round(1000 * service.queue.task(task_id).updated_at_s)


def opens(client, path):
    return tried(client, path).status_code == 200


def test_a_stream_too_many_is_refused_and_told_when_to_come_back(client, stranger, events):
    with ExitStack() as clients:
        open_streams(clients, client, events)

        refused = tried(client, events)

        assert refused.status_code == refused.json()["code"] == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["message"].endswith(
            "… has 2 streams of events open, which is the most. Close one, or ask for the task instead."
        )
        assert client.get(events.removesuffix("/events")).status_code == 200
        assert opens(stranger, f"/api/v1/image/task/{submitted(stranger)}/events")


def test_an_address_of_events_too_many_asks_its_client_to_come_back(client, events):
    url = client.get(events.removesuffix("/events")).json()["data"]["events_url"]
    with ExitStack() as clients:
        open_streams(clients, client, url)

        refused = client.get(url)

        assert (refused.status_code, refused.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert refused.text.startswith("retry: 5000\n: Who gave you this address has 2 streams of events open")
        assert refused.text.endswith("\n\n")


def test_a_client_that_hangs_up_gives_its_place_back(client, events):
    with ExitStack() as clients:
        open_streams(clients, client, events)
        assert not opens(client, events)

    wait_until(lambda: opens(client, events))


def test_a_client_whose_connection_breaks_gives_its_place_back(client, key, events, gateway):
    address = urlsplit(gateway.url)
    request = f"GET {events} HTTP/1.1\r\nHost: {address.netloc}\r\nX-API-Key: {key}\r\n\r\n".encode()
    for _ in range(MOST):
        with closing(socket.create_connection((address.hostname, address.port))) as connection:
            connection.sendall(request)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets it

    wait_until(lambda: opens(client, events))
    assert opens(client, events)


def test_a_stream_that_ends_with_its_task_gives_its_place_back(client, painter):
    for _ in range(MOST + 1):
        path = f"/api/v1/image/task/{submitted(client)}/events"
        lines = httpx.get(f"{client.base_url}{path}", headers=client.headers).text.splitlines()
        assert json.loads(lines[-2].removeprefix("data: "))["status"] == "success"


def test_a_revoked_key_hears_no_more(service, gateway, user):
    key = service.accounts.create(user)
    with httpx.Client(base_url=gateway.url, headers={"X-API-Key": key}) as client:
        task_id = submitted(client)
        with client.stream("GET", f"/api/v1/image/task/{task_id}/events") as stream:
            lines = stream.iter_lines()
            assert [next(lines)[:6] for _ in range(4)] == [
                f"id: {updated_ms(service, task_id)}"[:6],
                "event:",
                "data: ",
                "",
            ]
            service.accounts.revoke(key)
            assert list(lines) == []
    assert service.queue.task(task_id).status == "waiting"


def test_streams_of_two_keys_of_one_user_are_counted_apart(service, gateway):
    user = f"ada-{uuid.uuid4().hex[:12]}"
    with ExitStack() as clients:
        both = [
            clients.enter_context(
                httpx.Client(base_url=gateway.url, headers={"X-API-Key": service.accounts.create(user)})
            )
            for _ in range(2)
        ]
        path = f"/api/v1/image/task/{submitted(both[0])}/events"
        for client in both:
            open_streams(clients, client, path)
            assert not opens(client, path)


def events_of(client, path, seen=""):
    """The status of the answer, and the (id, data) of each event."""
    answer = client.get(path, headers={"Last-Event-ID": seen} if seen else {})
    events = [event.split("\n") for event in answer.text.split("\n\n") if event.startswith("id: ")]
    return answer.status_code, [(id[4:], json.loads(data[6:])) for id, _, data in events]


def test_a_client_that_comes_back_for_an_ended_task_is_told_to_come_back_no_more(client, service, events):
    service.queue.cancel(events.split("/")[-2])
    code, told = events_of(client, events)
    assert (code, [data["status"] for _, data in told]) == (200, ["cancelled"])
    assert events_of(client, events, seen=told[0][0]) == (204, [])
    assert events_of(client, events, seen="of another gateway") == (200, told)


def test_a_client_that_comes_back_is_not_sent_again_what_it_has(client, service, events):
    with client.stream("GET", events) as stream:
        seen = next(stream.iter_lines()).removeprefix("id: ")
    service.queue.cancel(events.split("/")[-2])
    code, told = events_of(client, events, seen=seen)
    assert (code, [data["status"] for _, data in told]) == (200, ["cancelled"])

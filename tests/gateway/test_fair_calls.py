"""Calls of one user, however many, leave the others threads to be answered on."""

import io
import threading
from types import SimpleNamespace

import grpc
import pytest
from PIL import Image

from gateway.grpc_server import start_grpc
from gateway.http_images import GENERATE
from gateway.http_verify import VERIFY
from gateway.stubs import imagegenx_pb2 as pb2
from tests.support.scheduler_stub import SchedulerServiceStub
from tests.support.waiting import wait_until


@pytest.fixture
def stuck(service, user, monkeypatch):
    """Every look at a task, or at a picture, of this user takes until `end`; `begun` are those under way."""
    gate, begun = threading.Event(), []

    def slow(call):
        def called(account, what):
            if account.user_id == user:
                begun.append(what)
                gate.wait(120)
            return call(account, what)

        return called

    for name in ("task", "verify"):
        monkeypatch.setattr(service, name, slow(getattr(service, name)))
    yield SimpleNamespace(begun=begun, end=gate.set)
    gate.set()


def test_over_http_one_users_calls_leave_the_others_theirs(gateway, service, client, stranger, stuck) -> None:
    task = f"{gateway.url}/api/v1/image/task/img_no"
    for one in (stranger, client):  # from now on it is known whose keys these are
        assert one.get("/api/v1/image/tasks").status_code == 200

    calls = [threading.Thread(target=client.get, args=(task,)) for _ in range(3 * service.settings.gateway.threads)]
    for call in calls:
        call.start()
    wait_until(lambda: len(stuck.begun) == service.settings.gateway.threads // 2)
    assert stranger.get(task).status_code == 404
    assert all(call.is_alive() for call in calls)
    stuck.end()
    for call in calls:
        call.join()


def test_pictures_of_one_user_whose_marks_are_read_leave_the_others_a_reader(gateway, client, stranger, stuck) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    form = {"files": {"file": ("a", file.getvalue())}}
    for one in (stranger, client):
        assert one.get("/api/v1/image/tasks").status_code == 200

    calls = [threading.Thread(target=client.post, args=(VERIFY,), kwargs=form) for _ in range(8)]
    for call in calls:
        call.start()
    wait_until(lambda: stuck.begun)
    assert stranger.post(VERIFY, **form).status_code == 200
    assert len(stuck.begun) == 1
    stuck.end()
    for call in calls:
        call.join()


def test_one_user_has_only_so_many_calls_that_wait(gateway, client, stranger, monkeypatch) -> None:
    monkeypatch.setattr(gateway.app.state.face, "most_waiting", 2)
    for one in (stranger, client):
        assert one.get("/api/v1/image/tasks").status_code == 200
    mug, wait, answers = {"text": "a mug"}, {"Prefer": "wait=100"}, []
    held = [
        threading.Thread(target=lambda: answers.append(client.post(GENERATE, json=mug, headers=wait))) for _ in range(2)
    ]
    for call in held:
        call.start()
    wait_until(lambda: gateway.app.state.face._waiting.total() == 2)

    more = client.post(GENERATE, json=mug, headers=wait)
    assert (more.status_code, more.headers["preference-applied"]) == (202, "wait=0")
    refused = client.post("/v1/images/generations", json={"prompt": "a mug"})
    assert refused.status_code == 429
    assert "goes on" in refused.json()["error"]["message"]
    assert stranger.post(GENERATE, json=mug, headers={"Prefer": "wait=1"}).headers["preference-applied"] == "wait=1"
    for task in client.get("/api/v1/image/tasks").json()["data"]["tasks"]:
        client.delete(f"/api/v1/image/task/{task['task_id']}")
    for call in held:
        call.join()
    assert [answer.json()["data"]["status"] for answer in answers] == ["cancelled"] * 2


def test_over_grpc_one_users_calls_leave_the_others_theirs(service, key, stranger, stuck) -> None:
    server = start_grpc(service, "127.0.0.1", 0)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = SchedulerServiceStub(channel)
            asked = pb2.QueryTaskRequest(task_id="img_no", api_key=stranger.headers["X-API-Key"])
            query = pb2.QueryTaskRequest(task_id="img_no", api_key=key)
            for api_key in (key, asked.api_key):  # from now on it is known whose keys these are
                assert stub.QueryGPULoad(pb2.QueryGPULoadRequest(api_key=api_key), timeout=120).code == 200
            calls = [stub.QueryTask.future(query) for _ in range(3 * service.settings.gateway.threads)]
            wait_until(lambda: len(stuck.begun) == service.settings.gateway.threads // 2)
            assert stub.QueryTask(asked, timeout=120).code == 404
            assert not any(call.done() for call in calls)
    finally:
        server.stop(0)

"""Calls of one user, however many, leave the others threads to be answered on."""

import threading
from types import SimpleNamespace

import grpc
import pytest

from gateway.grpc_server import start_grpc
from gateway.stubs import imagegenx_pb2 as pb2
from tests.support.scheduler_stub import SchedulerServiceStub
from tests.support.waiting import wait_until


@pytest.fixture
def stuck(service, user, monkeypatch):
    """Every look at a task of this user takes until `end`; `begun` are those under way."""
    gate, begun, look = threading.Event(), [], service.task

    def looked(account, task_id):
        if account.user_id == user:
            begun.append(task_id)
            gate.wait(120)
        return look(account, task_id)

    monkeypatch.setattr(service, "task", looked)
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

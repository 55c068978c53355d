"""`python -m gateway`: one process with HTTP, gRPC and callbacks, which ends in order."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest

from configs.queue_settings import QueueSettings
from configs.settings import Settings
from gateway.main import open_service
from gateway.service import GatewayService
from gateway.stubs import imagegenx_pb2 as pb2
from tests.support.gateway_process import ROOT, gateway_process
from tests.support.painter import Painter
from tests.support.scheduler_stub import SchedulerServiceStub
from tests.support.waiting import wait_until

MUG = {"text": "a red mug", "params": {"resolution": "128×96"}}


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[GatewayService]:
    """The same queue and store as the process, seen from the test."""
    service = open_service(Settings(home=tmp_path, queue=QueueSettings()))
    service.queue.check()
    yield service
    service.queue.close()


def test_on_sigterm_calls_under_way_are_answered_and_streams_end(tmp_path, beside) -> None:
    key = {"X-API-Key": beside.accounts.create("ada")}
    with gateway_process(tmp_path) as gateway, httpx.Client(base_url=gateway.url, headers=key, timeout=60) as client:
        task = client.post("/api/v1/image/generate", json=MUG).json()["data"]
        waiting = threading.Thread(
            target=lambda: answers.append(client.post("/v1/images/generations", json={"prompt": "a"}))
        )
        answers: list[httpx.Response] = []
        waiting.start()
        wait_until(lambda: beside.queue.depth().waiting["interactive"] == 2)
        with client.stream("GET", f"/api/v1/image/task/{task['task_id']}/events") as stream:
            lines = stream.iter_lines()
            assert next(line for line in lines if line.startswith("event")) == "event: task"
            gateway.process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line.startswith("event")] == []
        waiting.join()
        assert (answers[0].status_code, answers[0].headers["x-should-retry"]) == (503, "false")
        assert gateway.ended() == 0
        assert "gRPC on" in gateway.said
        assert "Traceback" not in gateway.said
    assert beside.queue.task(task["task_id"]).status == "waiting"


def test_a_killed_gateway_loses_nothing_that_was_accepted(tmp_path, beside) -> None:
    key = {"X-API-Key": beside.accounts.create("ada")}
    with gateway_process(tmp_path) as gateway:
        task = httpx.post(f"{gateway.url}/api/v1/image/generate", json=MUG, headers=key).json()["data"]
        gateway.process.send_signal(signal.SIGKILL)
        gateway.ended()
    with gateway_process(tmp_path) as gateway, Painter(beside.queue, beside.store):
        query = f"{gateway.url}/api/v1/image/task/{task['task_id']}"
        wait_until(lambda: httpx.get(query, headers=key).json()["data"]["status"] == "success")
        url = httpx.get(query, headers=key).json()["data"]["result"]["original_url"]
        assert url.startswith(gateway.url)
        picture = httpx.get(url)
        assert picture.headers["content-type"] == "image/webp"
        gateway.process.kill()
        gateway.ended()
        assert key["X-API-Key"] not in gateway.said
        assert url.partition("token=")[2] not in gateway.said
        assert "red mug" not in gateway.said
        assert f"GET /api/v1/image/task/{task['task_id']} 200" in gateway.said


def test_log_lines_carry_the_ids_of_the_call_and_the_task_they_are_about(tmp_path, beside) -> None:
    key = beside.accounts.create("ada")
    hook = {"callback_url": "http://127.0.0.1:8001/gone"}
    settings = {"LOGS__FORMAT": "json", "GATEWAY__ALLOW_PRIVATE_HOSTS": '["127.0.0.1"]'}
    with gateway_process(tmp_path, **settings) as gateway:
        with httpx.Client(base_url=gateway.url, headers={"X-API-Key": key}) as client:
            made = client.post("/api/v1/image/generate", json=MUG | hook)
            task_id = made.json()["data"]["task_id"]
            asked = client.delete(f"/api/v1/image/task/{task_id}")
            batch = client.post("/api/v1/image/batch-generate", json={"texts": ["a", "b"]})
            odd = client.get("/api/v1/image/task/%0Anot an id")
        with grpc.insecure_channel(re.search(r"gRPC on ([0-9.]+:\d+)", gateway.said)[1]) as channel:
            stub = SchedulerServiceStub(channel)
            sent = stub.SubmitTask(pb2.SubmitTaskRequest(task_id="order-7", api_key=key, text="a mug"), timeout=60)
            stub.QueryTask(pb2.QueryTaskRequest(task_id="no\nid", api_key=key), timeout=60)
        wait_until(lambda: "callback of" in gateway.said)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == 0
    lines = [json.loads(line) for line in gateway.said.splitlines()]
    assert (odd.status_code, sent.code) == (404, 200)

    def ids(beginning: str) -> list[dict[str, str]]:
        found = [line for line in lines if line["message"].startswith(beginning)]
        return [{name: line[name] for name in line if name.endswith("_id")} for line in found]

    assert ids("POST /api/v1/image/generate") == [{"request_id": made.headers["x-request-id"], "task_id": task_id}]
    assert ids("DELETE /api/v1/image/task/") == [{"request_id": asked.headers["x-request-id"], "task_id": task_id}]
    (found,) = ids("POST /api/v1/image/batch-generate")
    assert found == {
        "request_id": batch.headers["x-request-id"],
        "batch_id": batch.json()["data"]["batch_task_id"],
    }
    assert ids("GET /api/v1/image/task/") == [{"request_id": odd.headers["x-request-id"]}]
    assert [found.get("task_id") for found in ids("gRPC SubmitTask 200")] == ["order-7"]
    assert [found.keys() for found in ids("gRPC QueryTask 404")] == [{"request_id"}]
    assert ids(f"callback of {task_id}")[0] == {"callback_id": f"cb_{task_id}", "task_id": task_id}
    assert key not in gateway.said


def test_refusals_are_logged_without_what_was_secret_in_them(tmp_path, beside) -> None:
    key, revoked = beside.accounts.create("ada"), beside.accounts.create("eve")
    beside.accounts.revoke(revoked)
    secrets = {
        "X-API-Key": "igx_wrong-hush",
        "Authorization": "Bearer sk-hush",
        "Idempotency-Key": "once-hush",
        "Cookie": "session=hush",
    }
    with gateway_process(tmp_path, LOGS__LEVEL="debug") as gateway:
        with httpx.Client(base_url=gateway.url) as client:

            def send(body: object = MUG, headers: dict[str, str] | None = None, **more: object) -> int:
                content = {"content": body} if isinstance(body, bytes) else {"json": body}
                given = {"headers": headers or {"X-API-Key": key}, **(more or content)}
                return client.post("/api/v1/image/generate?api_key=query-hush", **given).status_code

            codes = [
                send(headers=secrets),
                send(headers={"X-API-Key": revoked}),
                send(b'{"text": "hush"'),
                send(MUG | {"text": "hush" * 300_000}),
                send(MUG | {"image_url": "http://me:hush@pictures.example/a.png?signature=hush"}),
                send(MUG | {"callback_url": "http://10.0.0.1/hush"}),
                send(data={"request": '{"text": "hush"}'}, files={"image": ("hush.png", b"GIF89a hush")}),
            ]
            shown = client.get("/api/v1/image/file/img_x/original?token=ab.hush.hush")
        with grpc.insecure_channel(re.search(r"gRPC on ([0-9.]+:\d+)", gateway.said)[1]) as channel:
            stub = SchedulerServiceStub(channel)
            sent = stub.SubmitTask(pb2.SubmitTaskRequest(api_key="igx_hush", text="hush"), timeout=60)
        wait_until(lambda: "gRPC SubmitTask 403" in gateway.said)
    assert (codes, shown.status_code, sent.code) == ([403, 403, 400, 413, 422, 422, 422], 403, 403)
    assert gateway.said.count("POST /api/v1/image/generate") == len(codes)
    for secret in ("hush", key, revoked, revoked[4:]):
        assert secret not in gateway.said


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with gateway_process(tmp_path, GATEWAY__HTTP_PORT=str(port)) as gateway:
            assert gateway.ended() == 1
            assert gateway.said == (
                f"error: cannot listen on 127.0.0.1:{port}: Address already in use. End what listens there, or set "
                "another gateway.host or gateway.http_port.\n"
            )


def test_the_gateway_loads_no_models_and_no_picture_library() -> None:
    heavy = "torch diffusers transformers pandas numpy dagster PIL"
    code = f"import sys, json, gateway.main; print(json.dumps([m for m in '{heavy}'.split() if m in sys.modules]))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == []


def test_300_idle_connections_lock_nobody_out_of_a_process_with_256_descriptors(tmp_path, beside) -> None:
    key = {"X-API-Key": beside.accounts.create("ada")}
    with gateway_process(tmp_path, descriptors=256) as gateway, ExitStack() as held:
        where = urlsplit(gateway.url)
        for _ in range(300):
            held.enter_context(socket.create_connection((where.hostname, where.port), timeout=60))
        for _ in range(3):
            assert httpx.get(f"{gateway.url}/api/v1/models", headers=key, timeout=60).status_code == 200
        found = re.search(r"metrics on (http://[0-9.:]+/metrics)", gateway.said)
        assert found, gateway.said
        assert "imagegenx_queue_up 1.0" in httpx.get(found[1], timeout=60).text
        assert "256 files may be open: room for 134 HTTP and 26 gRPC connections" in gateway.said
        assert "Too many open files" not in gateway.said


def test_a_port_of_the_metrics_that_is_in_use_is_told(tmp_path, beside) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with gateway_process(tmp_path, GATEWAY__METRICS_PORT=port) as gateway:
            assert gateway.ended() == 1
    assert f"cannot listen on 127.0.0.1:{port}: " in gateway.said
    assert "set another gateway.metrics_host or gateway.metrics_port" in gateway.said

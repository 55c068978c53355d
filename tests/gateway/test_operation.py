"""Health, metrics, documentation, the local key, and logs that tell no secrets."""

import grpc
import httpx
import pytest
from pydantic import SecretStr

from configs.settings import Settings
from gateway.grpc_server import start_grpc
from gateway.main import open_service
from gateway.metrics import GatewayMetrics
from gateway.stubs import imagegenx_pb2 as pb2
from models.request import GenerationRequest
from resources.queue import NewTask, new_task_id
from tests.support.running_gateway import running_gateway
from tests.support.scheduler_stub import SchedulerServiceStub
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
REQUEST = GenerationRequest(text="a mug", model_type="tiny")
MUG = {"text": "a red mug", "params": {"resolution": "128×96"}}


def metric(text: str, name: str) -> float:
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def test_health_tells_the_state_of_queue_store_and_workers(gateway, painter) -> None:
    wait_until(lambda: httpx.get(f"{gateway.url}/health").json()["data"]["workers"] == {"live": 1, "building": []})
    answer = httpx.get(f"{gateway.url}/health")
    data = answer.json()["data"]
    assert (answer.status_code, answer.json()["code"], data["status"]) == (200, 200, "healthy")
    assert data["service"] == "imagegenx"
    assert data["queue"]["status"] == data["store"]["status"] == "up"
    assert data.keys() >= {"version", "timestamp"}
    for path in ("/", "/docs", "/health", "/livez", "/readyz"):
        assert (httpx.head(gateway.url + path).status_code, httpx.head(gateway.url + path).content) == (200, b"")


def test_while_redis_is_away_calls_say_so_and_when_to_come_back(settings: Settings) -> None:
    queue = settings.queue.model_copy(update={"url": type(settings.queue.url)("redis://127.0.0.1:1/0")})
    service = open_service(settings.model_copy(update={"queue": queue}))
    with running_gateway(service) as gateway:
        health = httpx.get(f"{gateway.url}/health")
        assert (health.status_code, health.json()["data"]["status"]) == (503, "unhealthy")
        key = {"X-API-Key": "igx_" + "a" * 43}
        answer = httpx.post(gateway.url + GENERATE, json=MUG, headers=key)
        assert answer.status_code == answer.json()["code"] == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "imagegenx_queue_up 0.0" in httpx.get(gateway.metrics_url).text
    service.queue.close()


def test_a_store_that_fails_is_a_degraded_gateway(settings: Settings, tmp_path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    store = settings.store.model_copy(update={"path": tmp_path / "store"})
    service = open_service(settings.model_copy(update={"store": store}))
    health = service.health()
    assert (health.status, health.code, health.store["status"]) == ("degraded", 200, "down")
    service.queue.close()


def test_metrics_tell_depth_stages_batches_loads_and_failures(client, gateway, painter) -> None:
    for text in ("a mug", "fail this"):
        client.post(GENERATE, json={**MUG, "text": text})

    def text() -> str:
        return httpx.get(gateway.metrics_url).text

    wait_until(lambda: 'imagegenx_task_failures_total{cause="input_picture"} 1.0' in text())
    wait_until(lambda: 'imagegenx_tasks_total{status="success"} 1.0' in text())
    found = text()
    assert 'imagegenx_queue_waiting{lane="interactive"} 0.0' in found
    assert metric(found, "imagegenx_queue_oldest_waiting_seconds") == 0
    assert metric(found, "imagegenx_queue_up") == 1
    assert 'imagegenx_task_seconds_count{stage="denoise"} 1.0' in found
    assert 'imagegenx_task_seconds_count{stage="total"} 1.0' in found
    assert 'imagegenx_batch_fill{worker="painter"} 0.5' in found
    assert 'imagegenx_gpu_utilization_percent{device="0",worker="painter"} 42.0' in found
    assert 'imagegenx_worker_events_total{event="pictures",worker="painter"} 3.0' in found
    assert f'imagegenx_http_seconds_count{{method="POST",route="{GENERATE}",status="200"}} 2.0' in found


def test_metrics_tell_grpc_calls(gateway, service, key) -> None:
    server = start_grpc(service, "127.0.0.1", 0, observe=gateway.app.state.metrics.observe_call)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = SchedulerServiceStub(channel)
        assert stub.SubmitTask(pb2.SubmitTaskRequest(task_id="order-1", api_key="igx_wrong", text="a mug")).code == 403
        assert stub.QueryTask(pb2.QueryTaskRequest(task_id="order-1", api_key=key)).code == 404
    server.stop(0)

    for route, status in (("SubmitTask", 403), ("QueryTask", 404)):
        counted = f'imagegenx_http_seconds_count{{method="gRPC",route="{route}",status="{status}"}} 1.0'
        wait_until(lambda counted=counted: counted in httpx.get(gateway.metrics_url).text)
    assert metric(httpx.get(gateway.metrics_url).text, "imagegenx_queue_max_waiting") == 10_000


def test_a_record_that_cannot_be_read_is_told_and_the_others_are_counted(service, caplog) -> None:
    good, bad = (service.queue.submit(NewTask(id=new_task_id(), request=REQUEST), owner="eve") for _ in range(2))
    link = service.queue._link
    link.call(lambda redis: redis.hset(f"{link.prefix}task:{bad.id}", "created", "yesterday"))
    service.queue.cancel(good.id)
    metrics = GatewayMetrics(service.queue, service.health)
    for task in (good, bad):
        metrics.heard(task.id)
    metrics.start()
    wait_until(lambda: 'imagegenx_tasks_total{status="cancelled"} 1.0' in metrics.exposition().decode())
    metrics.stop()
    assert f"task {bad.id} is not counted, its record cannot be read: " in caplog.text
    link.call(lambda redis: redis.hset(f"{link.prefix}task:{bad.id}", "created", "0"))
    service.queue.cancel(bad.id)


def test_the_documentation_needs_nothing_from_elsewhere(gateway) -> None:
    document = httpx.get(f"{gateway.url}/openapi.json").json()
    assert {GENERATE, "/v1/images/generations", "/health"} <= document["paths"].keys()
    params = document["components"]["schemas"]["GenerationParams"]["properties"]
    assert not [name for name in ("resolution", "steps", "cfg_scale", "sampler") if "default" in params[name]]
    assert "default" not in document["components"]["schemas"]["GenerationRequest"]["properties"]["params"]
    assert params["resolution"]["description"] == "the model's default if left out"
    page = httpx.get(f"{gateway.url}/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://www.w3.org/", "")
    assert "https://" not in page.text


def test_the_document_of_all_calls_is_written_once(gateway, monkeypatch) -> None:
    first = httpx.get(f"{gateway.url}/openapi.json")
    monkeypatch.setattr("gateway.http_app.documented", None)
    assert httpx.get(f"{gateway.url}/openapi.json").content == first.content


def offered(gateway, **headers) -> httpx.Response:
    return httpx.post(f"{gateway.url}/page/key", headers={"X-Page-Token": "start-up-token", **headers})


def test_who_has_the_start_up_token_gets_a_key(gateway) -> None:
    key = offered(gateway).json()["data"]["key"]
    assert httpx.get(f"{gateway.url}/api/v1/models", headers={"X-API-Key": key}).status_code == 200
    assert offered(gateway).json()["data"]["key"] == key


def test_a_key_that_was_revoked_is_not_handed_out_again(gateway, service) -> None:
    revoked = offered(gateway).json()["data"]["key"]
    service.accounts.revoke(revoked)
    key = offered(gateway).json()["data"]["key"]
    assert key not in (revoked, "")
    assert httpx.get(f"{gateway.url}/api/v1/models", headers={"X-API-Key": key}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Page-Token": ""}, {"X-Page-Token": "start-up-toke"}, {"X-Real-IP": "127.0.0.1"}, {"X-Page-Token": "\xe9"}],
)
def test_no_address_gets_that_key_without_the_token(gateway, headers) -> None:
    answer = httpx.post(f"{gateway.url}/page/key", headers=httpx.Headers(headers, encoding="latin-1"))
    assert answer.status_code == 403
    assert answer.json()["data"] is None
    assert httpx.get(f"{gateway.url}/page/key").status_code == 404


def test_a_wrong_token_is_in_the_audit_log(gateway, service) -> None:
    assert offered(gateway, **{"X-Page-Token": "start-up-toke"}).status_code == 403
    refused = [event for event in service.audit.read() if event["event"] == "login.refused"]
    assert {"who": "127.0.0.1", "reason": "page token"}.items() <= refused[-1].items()


def test_without_a_token_nobody_gets_a_key(settings: Settings) -> None:
    own = settings.gateway.model_copy(update={"page_token": SecretStr("")})
    service = open_service(settings.model_copy(update={"gateway": own}))
    with running_gateway(service) as gateway:
        assert {offered(gateway, X_Page_Token=token).status_code for token in ("", "start-up-token")} == {403}
    service.queue.close()


def test_a_page_is_served_with_a_strict_policy(gateway) -> None:
    page = httpx.get(gateway.url)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert httpx.get(f"{gateway.url}/page/page.js").headers["content-type"].startswith("text/javascript")
    assert httpx.get(f"{gateway.url}/page/nothing.js").status_code == 404

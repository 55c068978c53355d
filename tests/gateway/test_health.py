"""What /health, /livez, /readyz and the metrics say while Redis or the store is full, refuses or hangs."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from configs.settings import Settings
from gateway.main import open_service
from tests.support.faulty_network import silent_listener
from tests.support.painter import encoded
from tests.support.redis_server import RedisServer, running_redis
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.small_disk import small_disk
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
REQUEST = {"request": json.dumps({"text": "a mug", "params": {"resolution": "128×128"}})}
PICTURE = encoded(Image.new("RGB", (64, 48), "teal"), "jpg")
UPLOADS = 8
SOON_S = 8.0
"""A health check answers within this, a few times what it takes, whatever hangs."""


@contextmanager
def gateway_over(home: Path, redis_url: str, store: dict[str, object] | None = None) -> Iterator[RunningGateway]:
    queue = {"url": redis_url, "connect_timeout_s": 10}  # longer than an answer may take
    settings = Settings.model_validate({"home": home, "queue": queue, "store": store or {"path": home / "store"}})
    service = open_service(settings)
    with running_gateway(service) as gateway:
        yield gateway
    service.queue.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


def asked(gateway: RunningGateway, path: str) -> tuple[int, dict]:
    """Status and data of a call that answers soon."""
    began_s = time.monotonic()
    answer = httpx.get(gateway.url + path, timeout=60)
    assert time.monotonic() - began_s < SOON_S, path
    return answer.status_code, answer.json()["data"]


def queue_up(gateway: RunningGateway) -> bool:
    text = metrics(gateway)
    assert "imagegenx_queue_up " in text
    return "imagegenx_queue_up 1.0" in text


def metrics(gateway: RunningGateway) -> str:
    return httpx.get(gateway.metrics_url, timeout=60).text


def test_a_full_redis_is_not_healthy_and_says_what_to_do(redis: RedisServer, tmp_path: Path) -> None:
    with gateway_over(tmp_path, redis.url) as gateway:
        key = gateway.service.accounts.create("ann")
        assert asked(gateway, "/health")[1]["status"] == "healthy"
        wait_until(lambda: queue_up(gateway))

        redis.order("CONFIG", "SET", "maxmemory", 1)

        wait_until(lambda: asked(gateway, "/health")[0] == 503)
        status, data = asked(gateway, "/health")
        assert (status, data["status"], data["queue"]["status"]) == (503, "unhealthy", "down")
        assert data["queue"]["problem"] == "full"
        assert data["queue"]["remedy"].startswith("Raise maxmemory there.")
        assert asked(gateway, "/readyz") == (503, {"status": "not ready"})
        assert asked(gateway, "/livez") == (200, {"status": "alive"})
        wait_until(lambda: not queue_up(gateway))
        refused = httpx.post(gateway.url + GENERATE, json={"text": "a"}, headers={"X-API-Key": key})
        assert refused.status_code == 503

        redis.order("CONFIG", "SET", "maxmemory", 0)
        wait_until(lambda: asked(gateway, "/readyz") == (200, {"status": "ready"}))
        wait_until(lambda: queue_up(gateway))


def test_while_redis_hangs_every_health_check_answers_soon(redis: RedisServer, tmp_path: Path) -> None:
    with gateway_over(tmp_path, redis.url) as gateway, ExitStack() as stack:
        assert asked(gateway, "/readyz")[0] == 200
        redis.freeze()
        stack.callback(redis.thaw)

        wait_until(lambda: asked(gateway, "/readyz")[0] == 503)
        status, data = asked(gateway, "/health")
        assert (status, data["queue"]["problem"]) == (503, "silent")
        assert data["queue"]["age_s"] > 0
        assert asked(gateway, "/livez")[0] == 200


def test_a_store_that_hangs_makes_the_gateway_degraded_and_no_answer_late(redis: RedisServer, tmp_path: Path) -> None:
    with silent_listener() as (endpoint, _):
        store = {"kind": "s3", "endpoint": endpoint, "secure": False, "access_key": "a", "secret_key": "b"}
        with gateway_over(tmp_path, redis.url, {**store, "connect_timeout_s": 10}) as gateway:
            for _ in range(3):
                status, data = asked(gateway, "/health")
                assert (status, data["status"]) == (200, "degraded")
                assert (data["store"]["status"], data["store"]["problem"]) == ("down", "silent")
            assert asked(gateway, "/readyz")[0] == asked(gateway, "/livez")[0] == 200


def test_health_is_answered_while_uploads_wait_for_a_store_that_hangs(redis: RedisServer, tmp_path: Path) -> None:
    with silent_listener() as (endpoint, _), ExitStack() as stack:
        store = {"kind": "s3", "endpoint": endpoint, "secure": False, "access_key": "a", "secret_key": "b"}
        gateway = stack.enter_context(gateway_over(tmp_path, redis.url, {**store, "connect_timeout_s": 2}))
        headers = {"X-API-Key": gateway.service.accounts.create("ann")}
        uploads = ThreadPoolExecutor(UPLOADS)
        stack.callback(uploads.shutdown)

        def upload() -> int:
            form = {"files": {"image": ("a.jpg", PICTURE)}, "data": REQUEST, "headers": headers}
            return httpx.post(gateway.url + GENERATE, timeout=60, **form).status_code

        answers = [uploads.submit(upload) for _ in range(UPLOADS)]
        while wait(answers, 0.1).not_done:
            assert asked(gateway, "/livez")[0] == asked(gateway, "/readyz")[0] == asked(gateway, "/health")[0] == 200
        assert {answer.result() for answer in answers} == {503}


def test_a_store_on_a_full_disk_is_down(redis: RedisServer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("gateway.health.STORE_FRESH_S", 0.1)
    with (
        small_disk(tmp_path / "disk", 64 * 1024) as disk,
        gateway_over(tmp_path, redis.url, {"path": disk.folder / "store"}) as gateway,
    ):
        assert asked(gateway, "/health")[1]["store"]["status"] == "up"
        disk.fill()

        wait_until(lambda: asked(gateway, "/health")[1]["status"] == "degraded")
        state = asked(gateway, "/health")[1]["store"]
        assert (state["status"], state["problem"]) == ("down", "unusable")
        assert "imagegenx doctor" in state["remedy"]

        disk.make_room()
        wait_until(lambda: asked(gateway, "/health")[1]["status"] == "healthy")

"""A configured Redis that is not there yet, and goes away later, under a gateway and a serving worker."""

import httpx
import pytest

from benchmarks.stand_in import write_stand_in_model
from configs.settings import load_settings
from gateway.main import open_service
from tests.support import stand_in_worker
from tests.support.forked import Forked
from tests.support.redis_server import RedisServer
from tests.support.running_gateway import running_gateway
from tests.support.waiting import wait_until

MUG = {"text": "a red mug", "params": {"resolution": "64x64"}}


@pytest.fixture
def redis(tmp_path):
    """A server that has not been started."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def gateway(tmp_path, monkeypatch, redis):
    chosen = {**write_stand_in_model(tmp_path / "models"), "IMAGEGENX_HOME": str(tmp_path)}
    for name, value in {**chosen, "IMAGEGENX_QUEUE__URL": redis.url, "IMAGEGENX_GATEWAY__HTTP_PORT": "8123"}.items():
        monkeypatch.setenv(name, value)
    service = open_service(load_settings())
    with running_gateway(service) as gateway:
        yield gateway
    service.queue.close()
    service.accounts.close()


@pytest.fixture
def worker(gateway):
    process = Forked(stand_in_worker.main)
    yield process
    process.kill()
    process.wait()


def test_gateway_and_worker_say_so_and_go_on_without_a_restart_once_it_is_back(redis, gateway, worker, caplog):
    def submit(key):
        return httpx.post(f"{gateway.url}/api/v1/image/generate", json=MUG, headers={"X-API-Key": key}, timeout=20)

    def assert_away(answer):
        assert answer.status_code == answer.json()["code"] == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["message"] == "The request queue cannot be reached now."
        caplog.clear()
        wait_until(lambda: f"Redis at 127.0.0.1:{redis.port} cannot be used now: " in caplog.text)
        assert "Start it, or correct IMAGEGENX_QUEUE__URL." in caplog.text

    def assert_served(key):
        task_id = submit(key).json()["data"]["task_id"]
        wait_until(lambda: gateway.service.queue.task(task_id).status.ended, timeout_s=60)
        assert gateway.service.queue.task(task_id).status == "success"

    assert_away(submit("igx_" + "a" * 43))
    redis.start()
    key = gateway.service.accounts.create("ada")
    assert_served(key)

    redis.kill()
    assert_away(submit(key))
    redis.start()
    assert_served(key)
    assert worker.poll() is None

"""A configured Redis that is not there yet, goes away later, and loses everything, and workers that stand still."""

import os
import signal
import threading

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
    chosen["IMAGEGENX_QUEUE__LEASE_S"] = "6"
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


def served(gateway, key, texts):
    """Whether each request has ended well, and how many pictures the user is charged for."""
    headers, bodies = {"X-API-Key": key}, [{**MUG, "text": text} for text in texts]
    paths = [
        httpx.post(f"{gateway.url}/api/v1/image/generate", json=body, headers=headers, timeout=60).json()["data"]
        for body in bodies
    ]
    queue = gateway.service.queue
    wait_until(lambda: all(queue.task(path["task_id"]).status.ended for path in paths), timeout_s=240)
    used = httpx.get(f"{gateway.url}/api/v1/usage", headers=headers, timeout=60).json()["data"]["day"]
    return {queue.task(path["task_id"]).status.value for path in paths}, used["pictures"]


def test_a_worker_that_stood_still_for_longer_than_its_lease_spoils_nothing_when_it_goes_on(redis, gateway, worker):
    redis.start()
    key = gateway.service.accounts.create("ada")
    assert served(gateway, key, ["a mug"]) == ({"success"}, 1)
    other = Forked(stand_in_worker.main)
    wait_until(lambda: len(gateway.service.queue.workers()) == 2, timeout_s=120)
    timer = threading.Timer(0.5, os.kill, (worker.pid, signal.SIGSTOP))
    timer.start()
    assert served(gateway, key, ["a slow hat"] * 8) == ({"success"}, 9)
    timer.join()
    os.kill(worker.pid, signal.SIGCONT)
    wait_until(lambda: len(gateway.service.queue.workers()) == 2, timeout_s=120)
    other.kill()
    other.wait()

    assert served(gateway, key, ["a slow bag"] * 2) == ({"success"}, 11)
    assert worker.poll() is None


def test_a_redis_that_lost_everything_is_a_new_one_for_gateway_and_worker(redis, gateway, worker):
    redis.start()
    key = gateway.service.accounts.create("ada")
    assert served(gateway, key, ["a mug"]) == ({"success"}, 1)
    body, headers = {**MUG, "text": "a slow mug"}, {"X-API-Key": key}
    task = httpx.post(f"{gateway.url}/api/v1/image/generate", json=body, headers=headers).json()["data"]
    wait_until(lambda: gateway.service.queue.task(task["task_id"]).status == "processing")

    redis.lose_everything()

    wait_until(lambda: httpx.get(gateway.url + task["query_url"], headers=headers).status_code == 403)
    assert served(gateway, gateway.service.accounts.create("ada"), ["a hat", "a bag"]) == ({"success"}, 2)
    assert worker.poll() is None


def test_gateway_and_worker_say_so_and_go_on_without_a_restart_once_it_is_back(redis, gateway, worker, caplog):
    def submit(key):
        return httpx.post(f"{gateway.url}/api/v1/image/generate", json=MUG, headers={"X-API-Key": key}, timeout=60)

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

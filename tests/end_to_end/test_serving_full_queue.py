"""A full queue, through a real gateway into a real Redis, with a serving worker behind it."""

import time

import httpx
import psutil
import pytest
from redis import Redis

from benchmarks.stand_in import write_stand_in_model
from configs.settings import load_settings
from gateway.main import open_service
from resources.queue import TaskStatus
from resources.queue.redis_server import private_redis
from tests.support import stand_in_worker
from tests.support.forked import Forked
from tests.support.gateway_process import gateway_process

BOUND, BATCH, FEW = 3_000, 20, 100
DEADLINE_S = 120
REFUSED = 100
BYTES_A_REQUEST = 5_000
"""What a short waiting request takes in Redis, with its entries in streams and indexes, at most."""
GATEWAY_BYTES = 256e6
"""What the gateway takes at most, however many requests wait."""
MOST_CLAIMED = 48
"""Three times the batch of 8 and the 8 claimed ahead: what one worker holds at most."""
GENERATE, BATCH_GENERATE = "/api/v1/image/generate", "/api/v1/image/batch-generate"
MUG = {"text": "a red mug", "params": {"resolution": "64x64"}}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    chosen = {**write_stand_in_model(tmp_path / "models"), "IMAGEGENX_HOME": str(tmp_path)}
    queue = {"IMAGEGENX_QUEUE__FSYNC": "everysec", "IMAGEGENX_QUEUE__MAX_WAITING": str(BOUND)}
    for name, value in {**chosen, **queue}.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def service(settings):
    """The queue and the accounts, seen from beside the gateway."""
    service = open_service(settings)
    yield service
    service.queue.close()
    service.accounts.close()


@pytest.fixture
def gateway(settings, service):
    model = {"MODEL_FOLDERS": f'["{settings.model_folders[0]}"]', "DEFAULT_MODEL": settings.default_model}
    queue = {"QUEUE__FSYNC": "everysec", "QUEUE__MAX_WAITING": BOUND}
    with gateway_process(settings.home, **queue, **model) as gateway:
        yield gateway


def fill(client, count):
    """Send so many requests in batches; the ids of their tasks."""
    body = {"texts": ["a red mug"] * BATCH, "params": MUG["params"]}
    answers = [client.post(BATCH_GENERATE, json=body) for _ in range(count // BATCH)]
    assert {answer.status_code for answer in answers} == {200}
    return [id for answer in answers for id in answer.json()["data"]["task_ids"]]


def test_a_full_queue_takes_bounded_memory_and_a_small_user_does_not_wait_for_a_large_one(service, gateway, settings):
    keys = [service.accounts.create(user, qps=100_000) for user in ("large", "small")]
    large, small = (httpx.Client(base_url=gateway.url, headers={"X-API-Key": key}, timeout=60) for key in keys)
    redis = Redis.from_url(private_redis(settings.queue).url, protocol=2)
    with large, small, redis:
        empty_bytes = redis.info("memory")["used_memory"]
        many, few = fill(large, BOUND - FEW), fill(small, FEW)

        refused = [large.post(GENERATE, json=MUG) for _ in range(REFUSED)]
        refused += [small.post(GENERATE, json=MUG), small.post(BATCH_GENERATE, json={"texts": ["a mug"]})]

        assert sum(service.queue.depth().waiting.values()) == BOUND
        assert {answer.status_code for answer in refused} == {503}
        assert {int(answer.headers["retry-after"]) >= 1 for answer in refused} == {True}
        assert redis.info("memory")["used_memory"] - empty_bytes < BYTES_A_REQUEST * BOUND
        assert psutil.Process(gateway.process.pid).memory_info().rss < GATEWAY_BYTES

        assert serve_until_ended(service.queue, few, many) <= FEW + MOST_CLAIMED
        assert small.post(GENERATE, json=MUG).status_code == 200


def serve_until_ended(queue, few, many):
    """Run a worker process until the few have ended; how many of the many have ended by then."""
    worker = Forked(stand_in_worker.main)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not all(task.status.ended for task in queue.tasks(few)):
            assert time.monotonic() < deadline
            assert queue.depth().processing <= MOST_CLAIMED
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()
    last_s = max(task.updated_at_s for task in queue.tasks(few))
    assert {task.status for task in queue.tasks(few)} == {TaskStatus.SUCCESS}
    return sum(task.status.ended and task.updated_at_s <= last_s for task in queue.tasks(many))

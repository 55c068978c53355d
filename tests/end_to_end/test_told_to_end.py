"""Serving runs and gateways that are told to end (SIGTERM) at work or idle, with Redis or the store away meanwhile.

Gateways are told so by Ctrl-C and by a closed terminal, too.
The code location and `dev` are told so in `test_postgres_away.py` and `test_dev.py`.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.stand_in import write_stand_in_model
from configs.settings import load_settings
from gateway.main import open_service
from gateway.service import GatewayService
from models.admission import parse_request
from resources.queue import NewTask, TaskStatus, new_task_id
from tests.support import stand_in_serving_run, stand_in_worker
from tests.support.forked import Forked
from tests.support.gateway_process import gateway_process
from tests.support.redis_server import RedisServer, running_redis
from tests.support.waiting import wait_until

ENDED_S = 60
"""A serving run has 20 s under `imagegenx dev`, and a gateway 30 s in a container: as long again for a busy machine."""
MUG = {"params": {"resolution": "64x64"}}
AWAY = ["nothing", "redis killed", "redis silent", "store"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
def beside(tmp_path: Path, redis: RedisServer, monkeypatch) -> Iterator[GatewayService]:
    """The queue and the store, seen from the test."""
    chosen = {**write_stand_in_model(tmp_path / "models"), "IMAGEGENX_HOME": str(tmp_path)}
    chosen |= {"IMAGEGENX_QUEUE__LEASE_S": "6", "IMAGEGENX_QUEUE__URL": redis.url, "OMP_NUM_THREADS": "1"}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    service = open_service(load_settings())
    service.store.check()
    yield service
    service.queue.close()


@contextmanager
def away(what: str, redis: RedisServer, store: Path) -> Iterator[None]:
    """Take something away for the length of the block."""
    if what == "redis killed":
        redis.kill()
        yield
        redis.start()
    elif what == "redis silent":
        redis.freeze()
        yield
        redis.thaw()
    elif what == "store":
        aside = store.with_name("store-away")
        store.rename(aside)
        store.symlink_to(store)
        yield
        store.unlink()
        aside.rename(store)
    else:
        yield


def submit(service: GatewayService, count: int) -> list[str]:
    request = parse_request({**MUG, "text": "a slow mug"}, service.registry)
    return [service.queue.submit(NewTask(id=new_task_id(), request=request), owner="anna").id for _ in range(count)]


@pytest.mark.parametrize("what", AWAY)
@pytest.mark.parametrize("count", [0, 6], ids=["idle", "painting"])
def test_a_serving_run_ends_and_its_requests_are_done_by_the_next(beside, redis, tmp_path, what, count) -> None:
    run = Forked(stand_in_serving_run.main)
    try:
        wait_until(beside.queue.workers)
        tasks = submit(beside, count)
        wait_until(lambda: beside.queue.depth().processing or not count)
        with away(what, redis, tmp_path / "store"):
            began_s = time.monotonic()
            os.kill(run.pid, signal.SIGTERM)
            assert run.wait(ENDED_S) == 0
            print(f"serving run, {what} away, {count} tasks: {time.monotonic() - began_s:.1f} s")
        if what == "nothing":
            assert beside.queue.workers() == []
            assert beside.queue.depth().processing == 0
    finally:
        run.kill()
    following = Forked(stand_in_worker.main)
    try:
        wait_until(lambda: all(task.status.ended for task in beside.queue.tasks(tasks)), 240)
    finally:
        following.kill()
        following.wait()
    assert {task.status for task in beside.queue.tasks(tasks)} <= {TaskStatus.SUCCESS}
    names = [one.key for one in beside.store.list() if one.key.startswith("20")]
    assert sorted(names) == sorted({key for key in names if any(task in key for task in tasks)})
    assert len(names) == count


@pytest.mark.parametrize(
    ("what", "number"),
    [*((what, signal.SIGTERM) for what in AWAY), ("nothing", signal.SIGINT), ("nothing", signal.SIGHUP)],
)
@pytest.mark.usefixtures("hung_up_on")
def test_a_gateway_ends_with_its_calls_answered(beside, redis, tmp_path, what, number) -> None:
    key, answers = {"X-API-Key": beside.accounts.create("ada")}, []
    with gateway_process(
        tmp_path, QUEUE__URL=redis.url, MODEL_FOLDERS=os.environ["IMAGEGENX_MODEL_FOLDERS"]
    ) as gateway:
        url = gateway.url

        def wait() -> None:
            headers = {**key, "Prefer": "wait=100"}
            body = {**MUG, "text": "a mug", "model_type": "stand-in"}
            answers.append(httpx.post(f"{url}/api/v1/image/generate", json=body, headers=headers, timeout=200))

        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_until(lambda: beside.queue.depth().backlog)
        with away(what, redis, tmp_path / "store"), ExitStack() as stack:
            stack.callback(waiting.join)
            began_s = time.monotonic()
            gateway.process.send_signal(number)
            assert gateway.ended() == 0
            print(f"gateway, {what} away: {time.monotonic() - began_s:.1f} s")
        assert answers[0].status_code in (202, 503)
        assert "Traceback" not in gateway.said
    (task,) = beside.queue.owned("ada", limit=10)
    assert task.status is TaskStatus.WAITING

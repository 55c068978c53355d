"""The soak: requests keep coming while serving runs, Redis, gateway and store go away and come back.

`run` is the full one of `make soak`: 500 requests under at least 20 `kill -9`, then 30 minutes of steady traffic with
an eye on memory, Redis and Dagster's database. The tests use `endure` with fewer of everything.
"""

import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.serving_stack import CallbackReceiver, ServingStack, objects_of, wait_for
from resources.object_store import open_store
from resources.queue import TaskStatus

REQUESTS, KILLS = 500, 20
STEADY_MINUTES = 30.0
STEADY_PER_S = 1.0
PATIENCE_S = 3600.0
_REQUEST = {"text": "a red mug", "params": {"steps": 10}}

LIMITS = {
    "requests without an end": 0,
    "successes without exactly two objects": 0,
    "failures without a true reason": 0,
    "objects of no success": 0,
    "tasks without exactly one callback id": 0,
    "gateway memory growth %": 10,
    "serving run memory growth %": 10,
    "redis keys growth %": 10,
}


def run(requests: int = REQUESTS, kills: int = KILLS, minutes: float = STEADY_MINUTES) -> dict[str, float]:
    """What was lost or doubled (nothing should be), and how memory and databases grew under steady traffic."""
    with prepared_stack() as (stack, receiver):
        figures = endure(stack, receiver, requests=requests, kills=kills)
    # Tasks are forgotten after a sixth of the time, so that Redis must stop growing.
    with prepared_stack(IMAGEGENX_QUEUE__TASK_TTL_S=str(max(60, int(10 * minutes)))) as (stack, _):
        return figures | steady(stack, minutes)


@contextmanager
def prepared_stack(**settings: str) -> Iterator[tuple[ServingStack, CallbackReceiver]]:
    """A stack over a new home folder; `settings` are environment variables."""
    receiver = CallbackReceiver()
    with tempfile.TemporaryDirectory() as folder, _environment(folder, receiver, settings):
        try:
            with ServingStack(Path(folder), _free_port()) as stack:
                yield stack, receiver
        finally:
            receiver.close()


def endure(
    stack: ServingStack, receiver: CallbackReceiver, *, requests: int, kills: int, seed: int = 5
) -> dict[str, float]:
    """Send requests while everything is killed in turn, and count what is not as it must be at the end."""
    dice = random.Random(seed)
    body = {**_REQUEST, "callback_url": f"http://{receiver.host}/done"}
    sent = threading.Event()
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(stack.submit, body, f"request-{number}") for number in range(requests)]
        trouble: Future[None] = threads.submit(_make_trouble, stack, kills, dice, sent)
        tasks = [future.result() for future in futures]
        sent.set()
        trouble.result()
        wait_for("the end of all tasks", lambda: _all_ended(stack, tasks), PATIENCE_S)
    ended = [stack.task(task_id) for task_id in tasks]
    wait_for("the callbacks", lambda: all(receiver.ids_of(task_id) for task_id in tasks), 120.0)
    return {
        "requests": requests,
        "kills": kills,
        "seconds": time.monotonic() - began,
        "successes": sum(task["status"] == TaskStatus.SUCCESS for task in ended),
        **_violations(stack, receiver, ended),
    }


def _make_trouble(stack: ServingStack, kills: int, dice: random.Random, sent: threading.Event) -> None:
    """Kill serving runs at random moments; in between, everything else goes away once."""
    others: dict[int, Callable[[], None]] = {
        kills // 4: stack.restart_redis,
        kills // 2: lambda: _bounce_gateway(stack),
        kills: lambda: _lose_store(stack),
    }
    for kill in range(1, kills + 1):
        wait_for("a serving run", stack.worker_pids, PATIENCE_S)
        if kill % 3:  # else while it still loads
            wait_for("work", lambda: _is_at_work(stack), PATIENCE_S)
        time.sleep(dice.uniform(0.0, 1.5))
        stack.kill_worker()
        if act := others.get(kill):
            act()
    sent.wait()


def _is_at_work(stack: ServingStack) -> bool:
    """Whether a serving run has claimed something, or nothing is left to claim."""
    depth = stack.queue.depth()
    return depth.processing > depth.abandoned or not depth.backlog


def _bounce_gateway(stack: ServingStack) -> None:
    stack.kill_gateway()
    stack.start_gateway()


def _lose_store(stack: ServingStack) -> None:
    wait_for("a serving run", stack.worker_pids, 120.0)
    with stack.store_away():
        time.sleep(3.0)


def _all_ended(stack: ServingStack, tasks: Sequence[str]) -> bool:
    return all(task is not None and task.status.ended for task in stack.queue.tasks(list(tasks)))


def _violations(stack: ServingStack, receiver: CallbackReceiver, ended: Sequence[dict[str, Any]]) -> dict[str, float]:
    store = open_store(stack.settings.store)
    keys = [one.key for one in store.list()]
    made = [task["task_id"] for task in ended if task["status"] == TaskStatus.SUCCESS]
    expected = {key for task_id in made for key in objects_of(task_id, keys)}
    return {
        "requests without an end": sum(not TaskStatus(task["status"]).ended for task in ended),
        "successes without exactly two objects": sum(len(objects_of(task_id, keys)) != 2 for task_id in made),
        "failures without a true reason": sum(
            not task.get("error_msg") for task in ended if task["status"] == TaskStatus.FAILED
        ),
        "objects of no success": len(set(keys) - expected),
        "tasks without exactly one callback id": sum(len(set(receiver.ids_of(task["task_id"]))) != 1 for task in ended),
    }


def steady(stack: ServingStack, minutes: float) -> dict[str, float]:
    """Traffic that the engine can follow: how memory, Redis and Dagster's database grow after the first third."""
    began = time.monotonic()
    early: dict[str, float] = {}
    tasks: list[str] = []
    while (passed_s := time.monotonic() - began) < 60 * minutes:
        tasks.append(stack.submit(_REQUEST, f"steady-{len(tasks)}"))
        if not early and passed_s > 20 * minutes:
            early = _sizes(stack)
        time.sleep(max(0.0, len(tasks) / STEADY_PER_S - (time.monotonic() - began)))
    late = _sizes(stack)
    wait_for("the end of the last tasks", lambda: _all_ended(stack, tasks[-10:]), PATIENCE_S)
    growth = {name: 100 * (late[name] / early[name] - 1) for name in early}
    return {
        "steady requests": len(tasks),
        "gateway MB": late["gateway"] / 1e6,
        "gateway memory growth %": growth["gateway"],
        "serving run MB": late["serving run"] / 1e6,
        "serving run memory growth %": growth["serving run"],
        "redis keys": late["redis keys"],
        "redis keys growth %": growth["redis keys"],
        "dagster MB per hour": (late["dagster"] - early["dagster"]) / 1e6 / (minutes * 2 / 3 / 60),
    }


def _sizes(stack: ServingStack) -> dict[str, float]:
    wait_for("a serving run", stack.worker_pids, 120.0)
    return {
        "gateway": float(psutil.Process(stack.gateway_pid).memory_info().rss),
        "serving run": float(psutil.Process(stack.worker_pids()[0]).memory_info().rss),
        "redis keys": float(stack.redis_keys()),
        "dagster": float(sum(file.stat().st_size for file in (stack.home / "dagster").rglob("*") if file.is_file())),
    }


@contextmanager
def _environment(folder: str, receiver: CallbackReceiver, settings: dict[str, str]) -> Iterator[None]:
    former = dict(os.environ)
    os.environ.update(
        {
            "IMAGEGENX_HOME": folder,
            "DAGSTER_HOME": "",
            "IMAGEGENX_QUEUE__LEASE_S": "5",
            "IMAGEGENX_QUEUE__MAX_DELIVERIES": "10",
            "IMAGEGENX_GATEWAY__ALLOW_PRIVATE_HOSTS": f'["{receiver.host}"]',
            "IMAGEGENX_CALLBACKS__FIRST_RETRY_S": "0.5",
            **settings,
        }
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    from benchmarks.running import run as run_named

    sys.exit(run_named(["soak"]))

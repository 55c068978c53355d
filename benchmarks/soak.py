"""The soak: requests keep coming while serving runs, Redis, gateway and store go away and come back.

`run` is the full one of `make soak`: 500 requests under at least 20 `kill -9`, then 30 minutes of steady traffic with
an eye on memory, Redis and Dagster's database. The tests use `endure` with fewer of everything.
"""

import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.serving_stack import CallbackReceiver, ServingStack, objects_of, wait_for
from imagegenx_cli.dev import CODE
from resources.mark_records import RECORDS
from resources.open_store import open_store
from resources.queue import TaskStatus

REQUESTS, KILLS = 500, 20
SUBMITTED_PER_S = 2.0
STEADY_MINUTES = 30.0
STEADY_PER_S = 1.0
STEADY_DONE_S = 30
"""A request of steady traffic is done after so long; most are after two seconds."""
PATIENCE_S = 3600.0
_REQUEST = {"text": "a red mug", "params": {"steps": 10}}

_TRUE_REASON = re.compile(r"Given up after \d+ attempts: each worker that tried it ended before it was done\.")

LIMITS = {
    "kills that hit nothing": 0,
    "requests without an end": 0,
    "successes without exactly two objects": 0,
    "failures without a true reason": 0,
    "objects of no success": 0,
    "tasks without exactly one callback id": 0,
    "steady requests not done in time": 0,
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
def prepared_stack(location: str = CODE, **settings: str) -> Iterator[tuple[ServingStack, CallbackReceiver]]:
    """A stack over a new home folder; `settings` are environment variables."""
    receiver = CallbackReceiver()
    with tempfile.TemporaryDirectory() as folder, _environment(folder, receiver, settings):
        try:
            with ServingStack(Path(folder), _free_port(), location) as stack:
                yield stack, receiver
        finally:
            receiver.close()


def endure(
    stack: ServingStack, receiver: CallbackReceiver, *, requests: int, kills: int, seed: int = 5
) -> dict[str, float]:
    """Send requests while everything is killed in turn, and count what is not as it must be at the end."""
    dice = random.Random(seed)
    body = {**_REQUEST, "callback_url": f"http://{receiver.host}/done"}
    began = time.monotonic()
    with ThreadPoolExecutor(1) as thread:
        trouble = thread.submit(_make_trouble, stack, kills, dice)
        tasks = [stack.submit(body, f"request-{number}") for number in _paced(requests, SUBMITTED_PER_S)]
        trouble.result()
        wait_for("the end of all tasks", lambda: _all_ended(stack, tasks), PATIENCE_S)
    ended = [stack.task(task_id) for task_id in tasks]
    wait_for("the callbacks", lambda: all(receiver.ids_of(task_id) for task_id in tasks), 120.0)
    return {
        "requests": requests,
        "kills": len(stack.killed_workers),
        "kills that hit nothing": kills - len(stack.killed_workers),
        "seconds": time.monotonic() - began,
        "successes": sum(task["status"] == TaskStatus.SUCCESS for task in ended),
        **_violations(stack, receiver, ended),
    }


def _paced(count: int, per_s: float) -> Iterator[int]:
    """Numbers, each when it is due."""
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        yield number


def _make_trouble(stack: ServingStack, kills: int, dice: random.Random) -> None:
    """Kill serving runs at random moments; in between, everything else goes away once."""
    others: dict[int, Callable[[], None]] = {
        kills // 4: stack.restart_redis,
        kills // 2: lambda: _bounce_gateway(stack),
        3 * kills // 4: lambda: _lose_store(stack),
    }
    for kill in range(1, kills + 1):
        wait_for("a serving run", stack.worker_pids, PATIENCE_S)
        if kill % 3:  # else while it still loads
            wait_for("work", lambda: _is_at_work(stack), PATIENCE_S)
        time.sleep(dice.uniform(0.0, 1.5))
        stack.kill_worker()
        if act := others.get(kill):
            act()


def _is_at_work(stack: ServingStack) -> bool:
    """Whether a serving run has claimed something, or nothing is left to claim."""
    depth = stack.queue.depth()
    return depth.processing > depth.abandoned or not depth.backlog


def _bounce_gateway(stack: ServingStack) -> None:
    stack.kill_gateway()
    stack.start_gateway()


def _lose_store(stack: ServingStack) -> None:
    """Take the store away from pictures that are being made."""
    wait_for("a serving run", stack.worker_pids, 120.0)
    wait_for("work", lambda: _is_at_work(stack), PATIENCE_S)
    with stack.store_away():
        time.sleep(5.0)


def _all_ended(stack: ServingStack, tasks: Sequence[str]) -> bool:
    return all(task is not None and task.status.ended for task in stack.queue.tasks(list(tasks)))


def _is_done(stack: ServingStack, task_id: str) -> bool:
    (task,) = stack.queue.tasks([task_id])
    return task is not None and task.status is TaskStatus.SUCCESS


def _violations(stack: ServingStack, receiver: CallbackReceiver, ended: Sequence[dict[str, Any]]) -> dict[str, float]:
    store = open_store(stack.settings.store)
    keys = [one.key for one in store.list() if not one.key.startswith(RECORDS)]
    made = [task["task_id"] for task in ended if task["status"] == TaskStatus.SUCCESS]
    expected = {key for task_id in made for key in objects_of(task_id, keys)}
    return {
        "requests without an end": sum(not TaskStatus(task["status"]).ended for task in ended),
        "successes without exactly two objects": sum(len(objects_of(task_id, keys)) != 2 for task_id in made),
        "failures without a true reason": sum(
            not _TRUE_REASON.fullmatch(task.get("error_msg") or "")
            for task in ended
            if task["status"] == TaskStatus.FAILED
        ),
        "objects of no success": len(set(keys) - expected),
        "tasks without exactly one callback id": sum(len(set(receiver.ids_of(task["task_id"]))) != 1 for task in ended),
    }


def steady(stack: ServingStack, minutes: float) -> dict[str, float]:
    """Traffic that the engine can follow: how memory, Redis and Dagster's database grow after the first third."""
    early: dict[str, float] = {}
    tasks: list[str] = []
    late_tasks, due = 0, int(STEADY_DONE_S * STEADY_PER_S)
    for number in _paced(int(60 * minutes * STEADY_PER_S), STEADY_PER_S):
        tasks.append(stack.submit(_REQUEST, f"steady-{number}"))
        late_tasks += number >= due and not _is_done(stack, tasks[number - due])
        if not early and number > 20 * minutes * STEADY_PER_S:
            early = _sizes(stack)
    late = _sizes(stack)
    wait_for("the end of the last tasks", lambda: _all_ended(stack, tasks[-due:]), PATIENCE_S)
    late_tasks += sum(not _is_done(stack, task_id) for task_id in tasks[-due:])
    growth = {name: 100 * (late[name] / early[name] - 1) for name in early}
    return {
        "steady requests": len(tasks),
        "steady requests not done in time": late_tasks,
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

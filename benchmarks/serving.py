"""Serving on this machine: what it adds to a request and how fast it is, watched or not, and after a quiet time.

`python -m benchmarks.serving COUNT STEPS` is a worker in a process of its own, without Dagster. It serves the request
queue until its standard input closes; for each line that comes in there, it prints the seconds that its engine alone
takes for so many requests.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from dagster import DagsterInstance

from benchmarks.engine import engine_s, open_workplace, uniform_jobs
from benchmarks.processes import wait_for
from benchmarks.serving_stack import ServingStack, prepared_stack
from configs.settings import load_settings
from gateway.changes import LOOK_AGAIN_S
from models.admission import parse_request
from models.registry import open_registry
from ops.serving import ServingWorker, WorkerDependencies
from ops.serving.dependencies import import_family
from resources.open_store import open_store
from resources.queue import NewTask, QueueDepth, RequestQueue, Task, TaskStatus, new_task_id, open_queue

LIMITS = {
    "added latency p50 ms": 40,
    "added latency p99 ms": 150,
    "engine alone / serving throughput": 1 / 0.97,
    "LitServe / serving throughput": 1.0,
    "cold request s": 12.0,
    "watched / unwatched seconds": 1.03,
    "first preview, % of the steps": 25.0,
}


SIZE = "128x128"
EDGE = 8
"""Pictures at either end of a list that do not count: batches fill up, and drain."""


def sustained_s(done_at_s: Iterable[float]) -> float:
    """Seconds that all but the first and the last few pictures took, given when each was done."""
    moments = sorted(done_at_s)
    return moments[-EDGE - 1] - moments[EDGE - 1]


def _main(count: int, steps: int) -> None:
    """Serve; time the engine when asked to."""
    settings = load_settings()
    place = open_workplace()
    import_family(place.registry)
    engine_s(place, uniform_jobs(place, 8, SIZE, steps))
    queue, store = open_queue(settings), open_store(settings.store)
    worker = ServingWorker(WorkerDependencies(settings, place.registry, place.engine, store, queue))
    worker.start()
    for _ in sys.stdin:
        jobs = uniform_jobs(place, count, SIZE, steps)
        sys.stdout.write(f"{sustained_s(time.perf_counter() for _ in place.engine.generate(jobs))}\n")
        sys.stdout.flush()
    worker.stop(0.0)
    worker.end()


COUNT, STEPS, PROBES, ROUNDS = 96, 10, 150, 3
START_S = 180.0
_ENGINE_STAGES = ("text", "image", "denoise", "decode")


def serving(count: int = COUNT, steps: int = STEPS, probes: int = PROBES, rounds: int = ROUNDS) -> dict[str, float]:
    """Milliseconds added to a request, pictures a second, and the ratios of the others' throughput to ours.

    The worker, Redis, the store and the client are processes of this machine; Redis syncs to disk as by default.
    Latency is that of requests one after another, from submission to success by the clock of Redis, less the engine's
    own seconds. Throughput is the sustained one: of a long list, the pictures between the first full batch and the
    last.

    The engine alone, serving and LitServe take turns, because a machine's speed drifts; figures are medians.
    """
    with _home(), _worker(count, steps) as engine_alone_s, _litserve(steps) as litserve_s:
        queue = open_queue(load_settings())
        try:
            _submit_and_wait(queue, 8, steps)
            added_ms = sorted(_added_ms(_submit_and_wait(queue, 1, steps)[0]) for _ in range(probes))
            turns = [(engine_alone_s(), _serving_s(queue, count, steps), litserve_s(count)) for _ in range(rounds)]
        finally:
            queue.close()
    engine_s, serving_s, other_s = (statistics.median(seconds) for seconds in zip(*turns, strict=True))
    return {
        "added latency p50 ms": added_ms[len(added_ms) // 2],
        "added latency p99 ms": added_ms[int(0.99 * (len(added_ms) - 1))],
        "engine alone pictures per s": (count - 2 * EDGE) / engine_s,
        "serving pictures per s": (count - 2 * EDGE) / serving_s,
        "LitServe pictures per s": (count - 2 * EDGE) / other_s,
        "engine alone / serving throughput": statistics.median(serving / engine for engine, serving, _ in turns),
        "LitServe / serving throughput": statistics.median(serving / other for _, serving, other in turns),
    }


def previews(count: int = 48, steps: int = 20, rounds: int = 6) -> dict[str, float]:
    """What it costs a worker that all its pictures are watched, and how far a picture is when its first preview comes.

    Rounds with and without watchers take turns, each first in every other pair; the ratio is the median of the pairs'.
    """
    with _home(), _worker(count, steps):
        queue, seen = open_queue(load_settings()), dict[str, int]()
        try:
            _submit_and_wait(queue, 8, steps)
            pairs = [_pair(queue, count, steps, seen, watched_first=bool(n % 2)) for n in range(rounds)]
        finally:
            queue.close()
    return {
        "watched / unwatched seconds": statistics.median(watched / unwatched for watched, unwatched in pairs),
        "first preview, % of the steps": statistics.median(seen.values()),
        "first preview at the latest, % of the steps": max(seen.values()),
        "pictures seen before they were done": len(seen),
        "of so many watched": count * rounds,
    }


def _pair(
    queue: RequestQueue, count: int, steps: int, seen: dict[str, int], *, watched_first: bool
) -> tuple[float, float]:
    watched_s = _watched_s(queue, count, steps, seen) if watched_first else 0.0
    unwatched_s = _serving_s(queue, count, steps)
    return watched_s or _watched_s(queue, count, steps, seen), unwatched_s


def _watched_s(queue: RequestQueue, count: int, steps: int, seen: dict[str, int]) -> float:
    """`_serving_s` while every picture is watched as a gateway does; `seen`: how far it was at first, by task."""
    ids, stop = list[str](), threading.Event()

    def look(changed: str | None) -> None:
        if changed and (found := queue.previews(changed)):
            seen.setdefault(changed, found[1].progress)

    def watch() -> None:
        while not stop.is_set():
            for task_id in list(ids):
                queue.watch(task_id)
            stop.wait(LOOK_AGAIN_S)

    watchers = [threading.Thread(target=queue.listen, args=(look, stop)), threading.Thread(target=watch)]
    for one in watchers:
        one.start()
    try:
        return _serving_s(queue, count, steps, ids)
    finally:
        stop.set()
        for one in watchers:
            one.join()


def _serving_s(queue: RequestQueue, count: int, steps: int, ids: list[str] | None = None) -> float:
    return sustained_s(task.updated_at_s for task in _submit_and_wait(queue, count, steps, ids))


def _added_ms(task: Task) -> float:
    assert task.result
    engine_s = sum(taken_s for stage, taken_s in task.result.seconds.items() if stage in _ENGINE_STAGES)
    return 1000 * (task.updated_at_s - task.created_at_s - engine_s)


def _submit_and_wait(queue: RequestQueue, count: int, steps: int, ids: list[str] | None = None) -> list[Task]:
    """So many tasks, once they have ended; their ids are put into `ids`, if that is given, as they are submitted."""
    ids = [] if ids is None else ids
    registry = open_registry(load_settings())
    data = {"text": "a red mug", "params": {"steps": steps, "resolution": SIZE, "cfg_scale": 7.5, "sampler": "DDIM"}}
    request = parse_request(data, registry)
    ids += (queue.submit(NewTask(id=new_task_id(), request=request), owner="bench").id for _ in range(count))
    wait_for("the pictures", lambda: _is_idle(queue.depth()), START_S)
    tasks = [task for task in queue.tasks(ids) if task]
    if failed := [task.error for task in tasks if task.status is not TaskStatus.SUCCESS]:
        raise RuntimeError(f"{len(failed)} requests failed: {failed[0]}")
    return tasks


def _is_idle(depth: QueueDepth) -> bool:
    """Asked instead of each task, which would take much of a processor from what is measured."""
    return not depth.backlog and not depth.processing


@contextmanager
def _home() -> Iterator[None]:
    former = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        threads = {
            "IMAGEGENX_ENGINE__THREADS": str(load_settings().engine.threads or max(1, (os.cpu_count() or 1) - 1))
        }
        os.environ.update({"IMAGEGENX_HOME": folder, "DAGSTER_HOME": "", **threads})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(former)


@contextmanager
def _worker(count: int, steps: int) -> Iterator[Callable[[], float]]:
    """A worker that serves inside the block; yields what tells the seconds its engine alone takes for the same load."""
    command = [sys.executable, "-m", "benchmarks.serving", str(count), str(steps)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def engine_alone_s() -> float:
            stdin.write("\n")
            stdin.flush()
            if not (line := stdout.readline()):
                raise RuntimeError(f"the worker ended with status {process.wait()}")
            return float(line)

        try:
            yield engine_alone_s
        finally:
            stdin.close()


@contextmanager
def _litserve(steps: int) -> Iterator[Callable[[int], float]]:
    """LitServe; yields what tells the seconds it takes for so many requests, all sent at once."""
    port = 18_400 + os.getpid() % 1000
    command = [sys.executable, "-m", "benchmarks.litserve_app", str(port), str(steps)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for("LitServe", lambda: _is_up(url, process), START_S)
            _post_all(url, 8)
            yield lambda count: sustained_s(_post_all(url, count))
        finally:
            os.killpg(process.pid, 15)


def _post_all(url: str, count: int) -> list[float]:
    """Sends so many requests at once; the moments of their answers, s."""

    def post(number: int) -> float:
        body = json.dumps({"text": "a red mug", "seed": number}).encode()
        request = urllib.request.Request(f"{url}/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            assert json.load(answer)["picture"]
        return time.perf_counter()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(post, range(count)))


def _is_up(url: str, process: "subprocess.Popen[bytes]") -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"LitServe ended with status {process.returncode}")
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


COLD_REQUESTS = 3
_SETTLE_S = 10.0


def cold() -> dict[str, float]:
    """Seconds of a cold request by part (medians), of a warm one, and what one Dagster run per request would cost.

    Cold: the stack is up, no serving run lives, nothing is loaded. A run per request is what the queue sensor would
    start if serving runs did one request each: the seconds from launch to the first line of the op, without any model.
    """
    parts: dict[str, list[float]] = {}
    with prepared_stack(IMAGEGENX_SERVING__IDLE_EXIT_S="3") as (stack, _):
        time.sleep(_SETTLE_S)
        for number in range(COLD_REQUESTS):
            for name, taken_s in _cold_request(stack, f"cold-{number}").items():
                parts.setdefault(name, []).append(taken_s)
            wait_for("the end of the serving run", lambda: not stack.worker_pids(), 60.0)
            time.sleep(_SETTLE_S)
    return {name: statistics.median(values) for name, values in parts.items()}


def _cold_request(stack: ServingStack, name: str) -> dict[str, float]:
    began_s = time.time()
    total_s, warm_s = _request_s(stack, name), _request_s(stack, f"{name}-again")
    with DagsterInstance.from_config(str(stack.home / "dagster")) as instance:
        record = instance.get_run_records(limit=1)[0]
        events = {event.dagster_event_type: event for event in instance.all_logs(record.dagster_run.run_id)}
        at_s = {kind.value: event.timestamp for kind, event in events.items() if kind}
    created_s = record.create_timestamp.timestamp()
    return {
        "cold request s": total_s,
        "cold: until the sensor asks for a run s": created_s - began_s,
        "cold: until the run is launched s": at_s["PIPELINE_STARTING"] - created_s,
        "cold: until its process works s": at_s["STEP_START"] - at_s["PIPELINE_STARTING"],
        "cold: libraries, model and picture s": began_s + total_s - at_s["STEP_START"],
        "one run per request, without a model s": at_s["STEP_START"] - began_s,
        "warm request s": warm_s,
    }


def _request_s(stack: ServingStack, name: str) -> float:
    """Seconds from a request at the gateway until it has succeeded."""
    began = time.perf_counter()
    task_id = stack.submit({"text": "a red mug", "params": {"seed": 1}}, name)
    while not (task := stack.queue.task(task_id)) or not task.status.ended:
        time.sleep(0.01)
    if task.status is not TaskStatus.SUCCESS:
        raise RuntimeError(task.error)
    return time.perf_counter() - began


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))

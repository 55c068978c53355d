"""The soak: requests keep coming while serving runs, Redis, gateway and store go away and come back.

`run` is the full one of `make soak`: 500 requests under at least 20 `kill -9`, then 30 minutes of steady traffic with
an eye on memory, Redis and Dagster's database. The tests use `endure` with fewer of everything.

`engine` soaks the engine alone: hundreds of random requests with every kind of failure among them.
"""

import ctypes
import gc
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.engine import open_workplace
from benchmarks.processes import wait_for
from benchmarks.serving_stack import CallbackReceiver, ServingStack, objects_of, prepared_stack
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage, InputPicture
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Mode, Priority, Sampler
from resources.mark_records import RECORDS
from resources.open_store import open_store
from resources.queue import TaskStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.batching.ticket import Ticket
    from models.denoising.slot import Slot

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
    "successes without exactly one object": 0,
    "failures without a true reason": 0,
    "objects of no success": 0,
    "tasks without exactly one callback id": 0,
    "steady requests not done in time": 0,
    "gateway memory growth %": 10,
    "serving run memory growth %": 10,
    "redis keys growth %": 10,
    "lost": 0,
    "wrong pictures": 0,
    "wrong failures": 0,
    "memory grown, MB": 20,
}


def run(requests: int = REQUESTS, kills: int = KILLS, minutes: float = STEADY_MINUTES) -> dict[str, float]:
    """What was lost or doubled (nothing should be), and how memory and databases grew under steady traffic."""
    with prepared_stack() as (stack, receiver):
        figures = endure(stack, receiver, requests=requests, kills=kills)
    # Tasks are forgotten after a sixth of the time, so that Redis must stop growing.
    with prepared_stack(IMAGEGENX_QUEUE__TASK_TTL_S=str(max(60, int(10 * minutes)))) as (stack, _):
        return figures | steady(stack, minutes)


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
        "successes without exactly one object": sum(len(objects_of(task_id, keys)) != 1 for task_id in made),
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


MARKS = {"raise": "KeyError: 'no such key'", "nan": "values that are not numbers", "memory": "out of memory"}
"""Prompts that fail, with an error, with a picture that is not numbers, for want of memory; and what they are told."""

_IN_FLIGHT = 48
_CANCEL_AFTER = "cancel"


@dataclass(frozen=True)
class Load:
    """A model and sizes to draw requests from; small ones make this quick."""

    registry: ModelRegistry
    model: str
    sides: tuple[int, ...]
    steps: tuple[int, int]


@dataclass
class _Log:
    """The listener of all jobs: what ended how, and which jobs are to be cancelled at their first step."""

    engine: BatchingEngine
    tickets: "dict[str, Ticket]" = field(default_factory=dict)
    results: dict[str, GeneratedImage | FailedImage] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def stepped(self, job_id: str, done: int, total: int) -> None:
        """Cancel a job that is marked for it."""
        if job_id.endswith(_CANCEL_AFTER) and (ticket := self.tickets.get(job_id)):
            self.engine.cancel(ticket)

    def ended(self, result: GeneratedImage | FailedImage) -> None:
        """Keep the one result of a job."""
        with self.changed:
            assert result.id not in self.results, f"job {result.id} ended twice"
            self.results[result.id] = result
            self.changed.notify_all()


def engine(count: int = 1000, model: str = "") -> dict[str, float]:
    """Soak the engine of this machine's settings with its default model, or another one."""
    place = open_workplace(model)
    return endure_failures(place.engine, Load(place.registry, place.model, (96, 104), (1, 4)), count)


def endure_failures(engine: BatchingEngine, load: Load, count: int, seed: int = 0) -> dict[str, float]:
    """Run `count` requests of 40 kinds, a tenth of them failing and a tenth cancelled, and compare with each alone.

    Returns:
        how many were lost, painted wrong or failed wrongly, and the growth of this process's memory in MB.
    """
    dice = random.Random(seed)
    kinds = [_job(engine, load, f"kind-{number}", dice) for number in range(40)]
    alone = {job.id: _pixels(engine, job) for job in kinds}
    warming, jobs = ([_drawn(kinds, number, dice) for number in range(count)] for _ in range(2))
    with _failures():
        # Others to begin with: libraries keep what they prepared for each shape.
        _run(engine, warming).clear()
        before = _memory_bytes()
        began = time.perf_counter()
        results = _run(engine, jobs)
        spent_s = time.perf_counter() - began
    verdicts = [_verdict(job, results.get(job.id), alone) for job in jobs]
    results.clear()
    grown = (_memory_bytes() - before) / 2**20
    return {
        "requests": float(count),
        "pictures": float(verdicts.count("right")),
        "failed as they should": float(verdicts.count("failed")),
        "cancelled": float(verdicts.count("cancelled")),
        "lost": float(verdicts.count("lost")),
        "wrong pictures": float(verdicts.count("wrong")),
        "wrong failures": float(verdicts.count("wrong failure")),
        "memory grown, MB": grown,
        "seconds": spent_s,
    }


def _memory_bytes() -> int:
    """Resident memory of this process, without what is free and only kept by the allocator."""
    import psutil

    gc.collect()
    if libc := find_library("c"):
        getattr(ctypes.CDLL(libc), "malloc_trim", int)(0)
    return int(psutil.Process().memory_info().rss)


def _run(engine: BatchingEngine, jobs: list[GenerationJob]) -> dict[str, GeneratedImage | FailedImage]:
    """Submit jobs of both priorities while fewer than a few are open, and wait for all."""
    log = _Log(engine)
    for number, job in enumerate(jobs):
        with log.changed:
            log.changed.wait_for(lambda submitted=number: submitted - len(log.results) < _IN_FLIGHT, 300)  # type: ignore[misc]
        priority = Priority.INTERACTIVE if number % 3 else Priority.BULK
        if ticket := engine.submit(job, log, priority):
            log.tickets[job.id] = ticket
    with log.changed:
        log.changed.wait_for(lambda: len(log.results) == len(jobs), 300)
    return log.results


def _drawn(kinds: list[GenerationJob], number: int, dice: random.Random) -> GenerationJob:
    """One of the kinds; its name says which, and what is to become of it."""
    kind, fate = dice.choice(kinds), dice.random()
    recipe, name = kind.recipe, f"{number}/{kind.id}"
    if fate < 0.1:
        recipe = recipe.model_copy(update={"text": dice.choice(list(MARKS))})
    elif fate < 0.2:
        name = f"{name}/{_CANCEL_AFTER}"
    return GenerationJob(name, recipe, kind.image, kind.mask, kind.controls)


def _verdict(
    job: GenerationJob, result: GeneratedImage | FailedImage | None, alone: "dict[str, NDArray[np.int64]]"
) -> str:
    import numpy as np

    if result is None:
        return "lost"
    if isinstance(result, FailedImage):
        if job.id.endswith(_CANCEL_AFTER) and result.error == "cancelled":
            return "cancelled"
        expected = MARKS.get(job.recipe.text)
        return "failed" if expected and expected in result.error else "wrong failure"
    difference = np.abs(result.pixels - alone[job.id.split("/")[1]]).max()
    return "wrong" if job.recipe.text in MARKS or difference > 1 else "right"


def _job(engine: BatchingEngine, load: Load, name: str, dice: random.Random) -> GenerationJob:
    card = load.registry.card(load.model)
    mode = dice.choice(card.modes)
    loras = ["", "", *list(card.loras)[:2]]
    guidance = dice.choice([1.0, 3.0, 7.5])
    params = {
        "resolution": f"{dice.choice(load.sides)}x{load.sides[0]}",
        "steps": dice.randint(*load.steps),
        "cfg_scale": guidance,
        "sampler": dice.choice(list(Sampler)).value,
        "negative_text": dice.choice(["", "blur"]) if guidance > 1 else "",
        "lora_name": dice.choice(loras),
    }
    inputs = _inputs(mode)
    fields = {"image": "image_url", "mask": "mask_url", "control": "control_image_url"}
    urls = {fields[given]: given for given in inputs}
    pictures = {name: picture for name, picture in inputs.items() if name != "control"}
    controls = [inputs["control"]] if "control" in inputs else []
    data = {"text": dice.choice(["a red mug", "ein blaues Hemd", "mug " * 30]), "model_type": load.model}
    request = parse_request({**data, "params": params, **urls}, load.registry)
    kind = engine.kind(load.model, request.params.resolution)
    recipe = plan_recipe(
        request, registry=load.registry, engine_kind=kind, seed=dice.randint(0, 9), controls=controls, **pictures
    )
    return GenerationJob(name, recipe, controls=controls, **pictures)


def _inputs(mode: Mode) -> dict[str, InputPicture]:
    from PIL import Image

    def picture() -> Image.Image:
        return Image.linear_gradient("L").convert("RGB")

    wanted = {
        Mode.TEXT2IMG: (),
        Mode.IMG2IMG: ("image",),
        Mode.INPAINT: ("image", "mask"),
        Mode.CONTROLNET: ("control",),
    }[mode]
    return {name: InputPicture("0" * 64, picture) for name in wanted}


def _pixels(engine: BatchingEngine, job: GenerationJob) -> "NDArray[np.int64]":
    import numpy as np

    (result,) = engine.generate([job])
    if isinstance(result, FailedImage):
        raise RuntimeError(f"job {job.id} failed: {result.error}")
    return result.pixels.astype(np.int64)


@contextmanager
def _failures() -> Iterator[None]:
    """Have the marked prompts fail in the middle of their batches, and large batches find no memory, while open."""
    import torch

    from models.denoising.slot import Slot
    from models.denoising.unet_model import UNetModel

    predict, advance = UNetModel.predict, Slot.advance

    def faulty_predict(self: Any, slots: "list[Slot]", *rest: Any) -> Sequence[torch.Tensor]:
        texts = {slot.recipe.text for slot in slots}
        if "raise" in texts:
            raise KeyError("no such key")
        if "memory" in texts or len(slots) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, slots, *rest)

    def faulty_advance(self: "Slot", prediction: torch.Tensor) -> None:
        advance(self, prediction * float("nan") if self.recipe.text == "nan" else prediction)

    UNetModel.predict, Slot.advance = faulty_predict, faulty_advance  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        UNetModel.predict, Slot.advance = predict, advance  # type: ignore[method-assign]

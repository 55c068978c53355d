"""Latency under Poisson arrivals: the engine against fixed-window batching of requests with identical parameters.

Both get the same requests at the same times, at 70 % of what each of two measures: what the engine does with a full
list of such requests (the load that it is at), and what diffusers does one request after another (the load that the
fixed window is at, since hardly two of these requests agree in all parameters).
"""

import random
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from benchmarks.engine_load import SequentialDiffusers, Workplace, engine_s, mixed_jobs, open_workplace
from models.engine import GenerationJob
from models.image import FailedImage, GeneratedImage
from models.request import Priority

LIMITS = {f"p95 engine / fixed window, {name} at 70 %": 0.6 for name in ("engine", "diffusers")}
WINDOW_S = 0.050
BATCH = 8


def run(
    count: int = 40,
    sides: tuple[int, ...] = (96, 128, 160),
    steps: tuple[int, int] = (10, 50),
    load: float = 0.7,
    model: str = "",
) -> dict[str, float]:
    """Mean and 95th percentile of the latency, in seconds, of both, and their ratios, at both loads."""
    place = open_workplace(model)
    jobs = mixed_jobs(place, count, sides, steps)
    reference = SequentialDiffusers(place)
    engine_s(place, jobs[:2])
    sample = jobs[: max(8, count // 2)]
    rates = {"engine": len(sample) / engine_s(place, sample)}
    few = sample[: max(4, len(sample) // 2)]
    rates["diffusers"] = len(few) / reference.seconds(few)
    figures: dict[str, float] = {f"{name} pictures/s": rate for name, rate in rates.items()}
    for name, rate in rates.items():
        figures |= _compare(place, reference, jobs, load * rate, f"{name} at {load:.0%}".replace("%", " %"))
    return figures


def _compare(
    place: Workplace, reference: SequentialDiffusers, jobs: Sequence[GenerationJob], rate: float, label: str
) -> dict[str, float]:
    dice = random.Random(11)
    gaps = [dice.expovariate(rate) for _ in jobs]
    window, engine = _window_latencies(reference, jobs, gaps), _engine_latencies(place, jobs, gaps)
    return {
        f"fixed window mean s, {label}": sum(window) / len(jobs),
        f"fixed window p95 s, {label}": _p95(window),
        f"engine mean s, {label}": sum(engine) / len(jobs),
        f"engine p95 s, {label}": _p95(engine),
        f"p95 engine / fixed window, {label}": _p95(engine) / _p95(window),
    }


def _p95(latencies: Sequence[float]) -> float:
    return sorted(latencies)[int(0.95 * (len(latencies) - 1))]


class _Clock:
    """The listener that takes the time of each job."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.changed = threading.Condition()

    def stepped(self, job_id: str, done: int, total: int) -> None:
        """Nothing to do."""

    def ended(self, result: GeneratedImage | FailedImage) -> None:
        """Take the time of a picture; one that failed, and so was fast, is noted to fail the benchmark."""
        with self.changed:
            if isinstance(result, FailedImage):
                self.errors.append(result.error)
            self.latencies.append(time.perf_counter() - self.began[result.id])
            self.changed.notify_all()


def _engine_latencies(place: Workplace, jobs: Sequence[GenerationJob], gaps: Sequence[float]) -> list[float]:
    clock = _Clock()
    for job, gap in zip(jobs, gaps, strict=True):
        time.sleep(gap)
        clock.began[job.id] = time.perf_counter()
        place.engine.submit(job, clock, Priority.INTERACTIVE)
    with clock.changed:
        clock.changed.wait_for(lambda: len(clock.latencies) == len(jobs))
    if clock.errors:
        raise RuntimeError(f"{len(clock.errors)} jobs failed: {clock.errors[0]}")
    return clock.latencies


def _window_latencies(
    reference: SequentialDiffusers, jobs: Sequence[GenerationJob], gaps: Sequence[float]
) -> list[float]:
    """A batch runs when it is full or its oldest request has waited for the window; one batch at a time."""
    arrivals: SimpleQueue[tuple[float, GenerationJob]] = SimpleQueue()

    def arrive() -> None:
        for job, gap in zip(jobs, gaps, strict=True):
            time.sleep(gap)
            arrivals.put((time.perf_counter(), job))

    threading.Thread(target=arrive, daemon=True).start()
    groups: dict[tuple[object, ...], list[tuple[float, GenerationJob]]] = {}
    latencies: list[float] = []
    while len(latencies) < len(jobs):
        try:
            arrival = arrivals.get(timeout=0.002)
            groups.setdefault(_parameters(arrival[1]), []).append(arrival)
            continue
        except Empty:
            due = min(groups.items(), key=lambda group: group[1][0][0], default=None)
        if due and (len(due[1]) >= BATCH or time.perf_counter() - due[1][0][0] >= WINDOW_S):
            batch = groups.pop(due[0])[:BATCH]
            reference.paint([job.recipe for _, job in batch])
            latencies += [time.perf_counter() - began for began, _ in batch]
    return latencies


def _parameters(job: GenerationJob) -> tuple[object, ...]:
    recipe = job.recipe
    return recipe.size, recipe.steps, recipe.cfg_scale, recipe.sampler

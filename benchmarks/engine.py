"""The engine on this machine: its own share of a step, mixed lists and Poisson arrivals, against diffusers."""

import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from configs.settings import EngineSettings, load_settings
from models.admission import parse_request
from models.denoising.sampling import Sampling
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage
from models.planning import plan_recipe
from models.recipe import Recipe
from models.registry import ModelRegistry, open_registry
from models.request import Priority, Sampler

LIMITS = (
    {"overhead, batch 1": 0.03, "overhead, batch 8": 0.03}
    | {"mixed / sequential diffusers": 1 / 1.3, "mixed / uniform, per UNet sample": 1 / 0.95}
    | {f"p95 engine / fixed window, {name} at 70 %": 0.6 for name in ("engine", "diffusers")}
)


_TEXTS = ("a red mug on a white background", "a blue shirt", "green shoes on a wooden table", "a yellow bag")


@dataclass(frozen=True)
class Workplace:
    """An engine with its model, and how to describe work for it."""

    engine: BatchingEngine
    registry: ModelRegistry
    model: str

    def job(self, name: str, **params: object) -> GenerationJob:
        """A text-to-image job."""
        text = _TEXTS[len(name) % len(_TEXTS)]
        request = parse_request({"text": text, "model_type": self.model, "params": params}, self.registry)
        kind = self.engine.kind(self.model, request.params.resolution)
        return GenerationJob(name, plan_recipe(request, registry=self.registry, engine_kind=kind, seed=len(name)))


def open_workplace(model: str = "", *, engine: EngineSettings | None = None) -> Workplace:
    """The engine of this machine's settings and its default model, or another one."""
    settings = load_settings()
    registry = open_registry(settings)
    return Workplace(BatchingEngine(registry, engine or settings.engine), registry, model or registry.default_model)


def mixed_jobs(place: Workplace, count: int, sides: Sequence[int], steps: tuple[int, int]) -> list[GenerationJob]:
    """Jobs of every size, number of steps, guidance and sampler."""
    dice = random.Random(7)
    return [
        place.job(
            f"mixed-{number}",
            resolution=f"{dice.choice(sides)}x{dice.choice(sides[:1])}",
            steps=dice.randint(*steps),
            cfg_scale=dice.choice([1.5, 4.0, 7.5, 12.0]),
            sampler=dice.choice(list(Sampler)).value,
        )
        for number in range(count)
    ]


def uniform_jobs(place: Workplace, count: int, size: str, steps: int) -> list[GenerationJob]:
    """Jobs that differ in prompt and seed only."""
    options = {"resolution": size, "steps": steps, "cfg_scale": 7.5, "sampler": "DDIM"}
    return [place.job(f"uniform-{'x' * number}", **options) for number in range(count)]


def unet_samples(recipe: Recipe) -> int:
    """Rows that a recipe puts through the UNet: its passes, doubled by guidance."""
    passes = {Sampler.HEUN: 2 * recipe.steps - 1, Sampler.PNDM: recipe.steps + 1}.get(recipe.sampler, recipe.steps)
    return passes * (2 if recipe.cfg_scale > 1 else 1)


def engine_s(place: Workplace, jobs: Sequence[GenerationJob]) -> float:
    """Seconds the engine takes for a list; RuntimeError if a job fails."""
    began = time.perf_counter()
    for result in place.engine.generate(jobs):
        if isinstance(result, FailedImage):
            raise RuntimeError(f"job {result.id} failed: {result.error}")
    return time.perf_counter() - began


class SequentialDiffusers:
    """diffusers' own pipeline, loaded as everyone loads it."""

    def __init__(self, place: Workplace) -> None:
        import torch
        from diffusers import StableDiffusionPipeline

        from models.families.quiet_libraries import quiet_libraries

        quiet_libraries()
        card = place.registry.card(place.model)
        placement = place.engine.placement(place.model)
        self._pipeline: Any = StableDiffusionPipeline.from_pretrained(
            str(card.path or card.source), safety_checker=None, requires_safety_checker=False
        ).to(placement.device, getattr(torch, placement.dtype))
        self._pipeline.set_progress_bar_config(disable=True)
        self._schedule = dict(self._pipeline.scheduler.config)

    def paint(self, recipes: Sequence[Recipe]) -> list[Any]:
        """The pictures (Pillow's) of recipes that agree in all but prompt and seed, made in one batch."""
        import torch

        from models.denoising.samplers import make_scheduler

        first = recipes[0]
        self._pipeline.scheduler = make_scheduler(first.sampler, self._schedule, first.steps)
        made = self._pipeline(
            [recipe.text for recipe in recipes],
            negative_prompt=[recipe.negative_text for recipe in recipes],
            width=first.width_px,
            height=first.height_px,
            num_inference_steps=first.steps,
            guidance_scale=first.cfg_scale,
            generator=[torch.Generator().manual_seed(recipe.seed) for recipe in recipes],
        )
        return list(made.images)

    def seconds(self, jobs: Sequence[GenerationJob]) -> float:
        """Seconds for a list, one request after another."""
        began = time.perf_counter()
        for job in jobs:
            self.paint([job.recipe])
        return time.perf_counter() - began


def overhead(size: str = "128x128", steps: int = 20, model: str = "") -> dict[str, float]:
    """The engine's own share of a run of one picture, and of eight: what is not the arithmetic of model and scheduler.

    Taken in processor time of the engine's thread and of the caller's, so that other processes do not count.
    """
    place = open_workplace(model)
    figures: dict[str, float] = {}
    for batch in (1, 8):
        jobs = uniform_jobs(place, batch, size, steps)
        engine_s(place, jobs)
        began = time.thread_time()
        with _working() as working, _computing() as computing:
            engine_s(place, jobs)
            while len(working) % 2:
                # The last result was told in the middle of a turn.
                time.sleep(0.001)
        total = working[-1] - working[0] + time.thread_time() - began
        figures[f"step ms, batch {batch}"] = 1000 * total / steps
        figures[f"overhead, batch {batch}"] = 1 - sum(computing) / total
    return figures


@contextmanager
def _working() -> Iterator[list[float]]:
    """Processor time of the engine's thread, before and after each of its turns, while this is open."""
    from models.batching.step_loop import StepLoop

    moments: list[float] = []
    take = StepLoop._take

    def timed(self: StepLoop, turn: Any) -> None:
        moments.append(time.thread_time())
        take(self, turn)
        moments.append(time.thread_time())

    StepLoop._take = timed  # type: ignore[method-assign]
    try:
        yield moments
    finally:
        StepLoop._take = take  # type: ignore[method-assign]


@contextmanager
def _computing() -> Iterator[list[float]]:
    """Processor time spent in the model and the scheduler, while this is open."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from models.denoising.prompts import PromptEncoder

    spent: list[float] = []
    timed = [
        (UNet2DConditionModel, "forward"),
        (AutoencoderKL, "decode"),
        (PromptEncoder, "encode_pair"),
        (Sampling, "scaled"),
        (Sampling, "advance"),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name in timed]
    for owner, name, function in originals:
        setattr(owner, name, _timed(function, spent))
    try:
        yield spent
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def _timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*args: Any, **options: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **options)
        finally:
            spent.append(time.thread_time() - began)

    return timed


ROUNDS = 3


def mixed_load(
    count: int = 64, sides: tuple[int, ...] = (96, 128, 160), steps: tuple[int, int] = (10, 50), model: str = ""
) -> dict[str, float]:
    """Seconds of a mixed list of requests, of diffusers one by one, and of uniform lists; and their ratios.

    Mixed and uniform lists take turns, because a machine's speed drifts; the ratio is the median of the rounds.
    """
    place = open_workplace(model)
    jobs = mixed_jobs(place, count, sides, steps)
    reference = SequentialDiffusers(place)
    engine_s(place, jobs[:2])
    reference.seconds(jobs[:2])
    sequential_s = reference.seconds(jobs)
    rounds = [(engine_s(place, jobs), _uniform_s(place, jobs, sum(steps) // 2)) for _ in range(ROUNDS)]
    mixed_s, uniform_s = (statistics.median(times) for times in zip(*rounds, strict=True))
    return {
        "sequential diffusers s": sequential_s,
        "mixed s": mixed_s,
        "uniform s": uniform_s,
        "mixed / sequential diffusers": mixed_s / sequential_s,
        "mixed / uniform, per UNet sample": statistics.median(mixed_s / uniform_s for mixed_s, uniform_s in rounds),
    }


def _uniform_s(place: Workplace, jobs: Sequence[GenerationJob], steps: int) -> float:
    """Seconds that the UNet samples of the jobs take when those of each size come from uniform lists."""
    samples = Counter[str]()
    for job in jobs:
        samples[str(job.recipe.size)] += unet_samples(job.recipe)
    total_s = 0.0
    for size, wanted in samples.items():
        # Enough pictures to fill batches, and enough work to be measured.
        alike = uniform_jobs(place, max(8, len(jobs) // len(samples)), size, steps)
        total_s += engine_s(place, alike) / sum(unet_samples(job.recipe) for job in alike) * wanted
    return total_s


WINDOW_S = 0.050
BATCH = 8


def poisson(
    count: int = 40,
    sides: tuple[int, ...] = (96, 128, 160),
    steps: tuple[int, int] = (10, 50),
    load: float = 0.7,
    model: str = "",
) -> dict[str, float]:
    """Latency under Poisson arrivals, mean and p95 in seconds, against fixed-window batching of requests alike.

    Both get the same requests at the same times, at 70 % of what each of two measures: what the engine does with a
    full list of such requests (the load that it is at), and what diffusers does one request after another (the load
    that the fixed window is at, since hardly two of these requests agree in all parameters).
    """
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

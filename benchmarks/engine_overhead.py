"""The engine's own share of a step: everything that is not UNet, VAE, text encoder or scheduler arithmetic.

Taken in processor time of the engine's thread and of the caller's, so that other processes do not count.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.engine_load import engine_s, open_workplace, uniform_jobs
from models.denoising.sampling import Sampling

LIMITS = {"overhead, batch 1": 0.03, "overhead, batch 8": 0.03}


def run(size: str = "128x128", steps: int = 20, model: str = "") -> dict[str, float]:
    """The overhead's share of the time of a run of one picture, and of eight."""
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

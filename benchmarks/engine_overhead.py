"""The engine's own share of a step: everything that is not UNet, VAE, text encoder or scheduler arithmetic."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.engine_load import engine_s, open_workplace, uniform_jobs
from models.batching.sampling import Sampling

LIMITS = {"overhead, batch 1": 0.03, "overhead, batch 8": 0.03}


def run(size: str = "128x128", steps: int = 20, model: str = "") -> dict[str, float]:
    """The overhead's share of the time of a run of one picture, and of eight."""
    place = open_workplace(model)
    figures: dict[str, float] = {}
    for batch in (1, 8):
        jobs = uniform_jobs(place, batch, size, steps)
        engine_s(place, jobs)
        with _computing() as computing:
            total = engine_s(place, jobs)
        figures[f"step ms, batch {batch}"] = 1000 * total / steps
        figures[f"overhead, batch {batch}"] = 1 - sum(computing) / total
    return figures


@contextmanager
def _computing() -> Iterator[list[float]]:
    """Seconds spent in the model and the scheduler, while this is open."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from models.batching.prompts import PromptEncoder

    spent: list[float] = []
    timed = [
        (UNet2DConditionModel, "forward"),
        (AutoencoderKL, "decode"),
        (PromptEncoder, "encode_pair"),
        (Sampling, "__init__"),
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
        began = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            spent.append(time.perf_counter() - began)

    return timed

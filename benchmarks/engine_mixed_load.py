"""The engine on a mixed list of 64 requests, against diffusers one by one and against itself on uniform lists."""

import statistics
from collections import Counter
from collections.abc import Sequence

from benchmarks.engine_load import (
    SequentialDiffusers,
    Workplace,
    engine_s,
    mixed_jobs,
    open_workplace,
    unet_samples,
    uniform_jobs,
)
from models.engine import GenerationJob

LIMITS = {"mixed / sequential diffusers": 1 / 1.3, "mixed / uniform, per UNet sample": 1 / 0.95}


ROUNDS = 3


def run(
    count: int = 64, sides: tuple[int, ...] = (96, 128, 160), steps: tuple[int, int] = (10, 50), model: str = ""
) -> dict[str, float]:
    """Seconds of each, and their ratios.

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

"""The engine on a mixed list of 64 requests, against diffusers one by one and against itself on uniform lists."""

from collections import Counter

from benchmarks.engine_load import (
    SequentialDiffusers,
    engine_s,
    mixed_jobs,
    open_workplace,
    unet_samples,
    uniform_jobs,
)

LIMITS = {"mixed / sequential diffusers": 1 / 1.3, "mixed / uniform, per UNet sample": 1 / 0.95}


def run(
    count: int = 64, sides: tuple[int, ...] = (96, 128, 160), steps: tuple[int, int] = (10, 50), model: str = ""
) -> dict[str, float]:
    """Seconds of each, and their ratios."""
    place = open_workplace(model)
    jobs = mixed_jobs(place, count, sides, steps)
    reference = SequentialDiffusers(place)
    engine_s(place, jobs[:2])
    reference.seconds(jobs[:2])
    sequential_s, mixed_s = reference.seconds(jobs), engine_s(place, jobs)
    samples = Counter[str]()
    for job in jobs:
        samples[str(job.recipe.size)] += unet_samples(job.recipe)
    uniform_s = 0.0
    for size, wanted in samples.items():
        # Enough pictures to fill batches, and enough work to be measured.
        middle = sum(steps) // 2
        alike = uniform_jobs(place, max(8, count // len(sides)), size, middle)
        uniform_s += engine_s(place, alike) / sum(unet_samples(job.recipe) for job in alike) * wanted
    return {
        "sequential diffusers s": sequential_s,
        "mixed s": mixed_s,
        "uniform s": uniform_s,
        "mixed / sequential diffusers": mixed_s / sequential_s,
        "mixed / uniform, per UNet sample": mixed_s / uniform_s,
    }

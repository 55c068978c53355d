"""How fast the built-in model is on this machine's CPU: loading it, and one picture of 20 guided steps at 128×128."""

import time
from statistics import median

from benchmarks.engine_load import Workplace, engine_s, open_workplace
from training.run import BUILTIN

LIMITS = {"pipeline loads s": 2.0, "20 guided steps s": 1.5}
REPEATS = 5
SIZE = "128x128"


def run() -> dict[str, float]:
    """Medians in seconds. Importing PyTorch and diffusers is not part of loading; it happens once a process."""
    place = open_workplace("tiny")
    figures = {"pipeline loads s": median(_load_s() for _ in range(REPEATS))}
    _paint_s(place, 0)
    figures["20 guided steps s"] = median(_paint_s(place, number) for number in range(1, REPEATS + 1))
    return figures


def _load_s() -> float:
    from diffusers import StableDiffusionPipeline

    from models.families.quiet_libraries import quiet_libraries

    quiet_libraries()
    began = time.perf_counter()
    StableDiffusionPipeline.from_pretrained(BUILTIN / "tiny", safety_checker=None, requires_safety_checker=False)
    return time.perf_counter() - began


def _paint_s(place: Workplace, number: int) -> float:
    job = place.job("x" * number, resolution=SIZE, steps=20, cfg_scale=4.0)
    return engine_s(place, [job])

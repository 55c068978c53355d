"""The engine on a GPU: full-size SD 1.5 and SDXL against diffusers' own pipelines in the same run.

Needs `models/` and `configs/` of the checkout, PyTorch, diffusers and transformers, and no Dagster:

    python -m benchmarks.engine_gpu [--small] [--minutes 8] [--json FILE]

Figures are printed as they are measured, most wanted first; what does not fit the time is left out and named.
"""

import argparse
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from configs.settings import EngineSettings
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage
from models.pipeline_pool import PipelinePool
from models.recipe import Recipe, plan_recipe
from models.registry import ModelRegistry
from models.request import Sampler, parse_request

BATCH = 8
DEVICE_TFLOPS = 790.0
"""What dense half-precision matrix products reach on an H100 (DESIGN.md)."""

TFLOP = {"sd": (0.80, 2.5), "sdxl": (6.76, 10.5)}
"""Of one UNet row at the model's own size, and of one decoded picture."""

TARGETS = {
    "sd: share of the arithmetic limit, compile": 0.50,
    "sd: compile / diffusers eager": 1.5,
    "sdxl: share of the arithmetic limit, compile": 0.45,
    "sd: GPU busy during a catalog": 0.95,
}
"""Figures that should be at least so large."""

Figures = dict[str, float]


@dataclass
class Bench:
    """One run of this benchmark.

    Attributes:
        steps: denoising steps of each picture.
        batches: full batches to measure, by model.
        catalog: pictures of the catalog in which the GPU's busy share is taken.
        fast: the accelerator compared with eager.
    """

    registry: ModelRegistry
    device: str
    steps: int
    batches: dict[str, int]
    catalog: int
    fast: str
    deadline_s: float
    figures: Figures

    def note(self, name: str, value: float) -> None:
        """Keep and print a figure."""
        self.figures[name] = value
        verdict = ""
        if name in TARGETS:
            verdict = f"  {'reached' if value >= TARGETS[name] else 'MISSED'}: {TARGETS[name]:g} wanted"
        print(f"  {name:<52} {value:10.3f}{verdict}", flush=True)

    def is_out_of_time(self, what: str) -> bool:
        """Whether a part has to be left out; says so."""
        if time.monotonic() < self.deadline_s:
            return False
        print(f"  {what}: left out, the time is up", flush=True)
        return True

    def jobs(self, model: str, count: int) -> list[GenerationJob]:
        """Jobs of the model's own size, guided, that differ in their seeds."""
        params = {
            "steps": self.steps,
            "cfg_scale": 7.5,
            "sampler": "Euler",
            "resolution": self.registry.card(model).default_resolution,
        }
        request = parse_request({"text": "a red mug", "model_type": model, "params": params}, self.registry)
        kind = self._engine().kind(model)
        recipes = (plan_recipe(request, registry=self.registry, engine_kind=kind, seed=seed) for seed in range(count))
        return [GenerationJob(str(seed), recipe) for seed, recipe in enumerate(recipes)]

    @contextmanager
    def engine(self) -> Iterator[BatchingEngine]:
        """An engine whose models go when this ends."""
        engine = self._engine()
        try:
            yield engine
        finally:
            engine.release()

    def _engine(self) -> BatchingEngine:
        # Full batches from the first step on: other sizes would be compiled as well.
        settings = EngineSettings(device=self.device, max_batch_size=BATCH, max_batch_wait_ms=60_000)
        return BatchingEngine(self.registry, settings, PipelinePool())


def run(*, small: bool = False, minutes: float = 8.0) -> Figures:
    """Measure everything that fits the time.

    Args:
        small: narrow networks on the CPU, one batch each: to see that this works, not how fast it is.
        minutes: after which nothing more is begun.
    """
    import torch

    from models.families.quiet_libraries import quiet_libraries

    quiet_libraries()
    from benchmarks.random_checkpoint import random_registry

    if not small and not torch.cuda.is_available():
        raise SystemExit("engine_gpu measures a GPU, and PyTorch sees none here. Try it with --small.")
    bench = Bench(
        registry=random_registry(small=small, dtype="float32" if small else "bfloat16"),
        device="cpu" if small else "cuda",
        steps=2 if small else 30,
        batches={"sd": 1, "sdxl": 1} if small else {"sd": 6, "sdxl": 2},
        catalog=BATCH if small else 200,
        fast="eager" if small else "compile",
        deadline_s=time.monotonic() + 60 * minutes,
        figures={},
    )
    for name in ("sd", "sdxl"):
        if not bench.is_out_of_time(name):
            _measure(bench, name)
    return bench.figures


def _measure(bench: Bench, name: str) -> None:
    fast, eager = f"{name}-{bench.fast}", f"{name}-eager"
    count = BATCH * bench.batches[name]
    with bench.engine() as engine:
        began = time.perf_counter()
        _painted(engine, bench.jobs(fast, BATCH))
        bench.note(f"{name}: first batch s, {bench.fast}", time.perf_counter() - began)
        rate = _pictures_per_s(engine, bench.jobs(fast, count))
        bench.note(f"{name}: pictures/s, {bench.fast}", rate)
        if bench.device != "cpu":
            share = rate * _tflop(name, bench) / DEVICE_TFLOPS
            bench.note(f"{name}: share of the arithmetic limit, {bench.fast}", share)
        fast_pictures = _painted(engine, bench.jobs(fast, BATCH))
        bench.note(f"{name}: graph replays per step", _replays_per_step(engine, bench.jobs(fast, BATCH), bench))
        if name == "sd":
            _measure_catalog(bench, engine, bench.jobs(fast, bench.catalog))
    reference = _diffusers_pictures_per_s(bench, eager)
    bench.note(f"{name}: pictures/s, diffusers eager", reference)
    bench.note(f"{name}: {bench.fast} / diffusers eager", rate / reference)
    if bench.is_out_of_time(f"{name}: the engine's eager mode"):
        return
    with bench.engine() as engine:
        eager_pictures = _painted(engine, bench.jobs(eager, BATCH))
        bench.note(f"{name}: pictures/s, eager", _pictures_per_s(engine, bench.jobs(eager, count)))
    bench.note(f"{name}: PSNR of {bench.fast} to eager, dB", _psnr(fast_pictures, eager_pictures))


def _tflop(name: str, bench: Bench) -> float:
    """Of one picture: each step has a guided and an unguided row."""
    row, decoding = TFLOP[name]
    return row * 2 * bench.steps + decoding


def _painted(engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> dict[str, GeneratedImage]:
    return {picture.id: picture for picture in _pictures(engine, jobs)}


def _pictures(engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> Iterator[GeneratedImage]:
    for result in engine.generate(jobs):
        if isinstance(result, FailedImage):
            raise RuntimeError(f"job {result.id} failed: {result.error}")
        yield result


def _pictures_per_s(engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> float:
    began = time.perf_counter()
    count = sum(1 for _ in _pictures(engine, jobs))
    return count / (time.perf_counter() - began)


def _replays_per_step(engine: BatchingEngine, jobs: Sequence[GenerationJob], bench: Bench) -> float:
    """CUDA graphs launched per denoising step, as the profiler counts them; 1 if each step is one graph."""
    from torch.profiler import ProfilerActivity, profile

    if bench.device == "cpu":
        return 0.0
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        _painted(engine, jobs)
    launches = sum(event.count for event in profiler.key_averages() if "cudaGraphLaunch" in event.key)
    return float(launches / bench.steps)


def _measure_catalog(bench: Bench, engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> None:
    """Pictures encoded and stored beside the GPU's work, and how busy that was."""
    if bench.is_out_of_time("sd: the catalog"):
        return
    with TemporaryDirectory(prefix="imagegenx-") as folder, ThreadPoolExecutor(4) as pool, _busy_shares() as shares:
        began = time.perf_counter()
        stored = [pool.submit(_store, picture, Path(folder)) for picture in _pictures(engine, jobs)]
        for one in stored:
            one.result()
        spent_s = time.perf_counter() - began
    bench.note("sd: pictures/s of a catalog, stored", len(jobs) / spent_s)
    if shares:
        bench.note("sd: GPU busy during a catalog", sum(shares) / len(shares))
    else:
        print("  sd: GPU busy during a catalog: not known, NVML tells no load here", flush=True)


def _store(picture: GeneratedImage, folder: Path) -> None:
    from models.encoding import encode_picture, rgb_picture

    data = encode_picture(rgb_picture(picture.pixels), "webp", 95, picture.recipe)
    (folder / f"{picture.id}.webp").write_bytes(data)


@contextmanager
def _busy_shares(every_s: float = 0.2) -> Iterator[list[float]]:
    """Fills with the GPU's busy share, 0 to 1, while this is open."""
    from models.gpu_load import read_gpu_loads

    shares: list[float] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(every_s):
            shares.extend(load.utilization / 100 for load in read_gpu_loads()[:1])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield shares
    finally:
        is_over.set()
        watcher.join()


def _diffusers_pictures_per_s(bench: Bench, model: str) -> float:
    """diffusers' own pipeline on the same weights, in batches of equal parameters, which suits it best."""
    import torch

    from benchmarks.random_checkpoint import random_pipeline
    from models.families.sdxl import StableDiffusionXL
    from models.families.stable_diffusion import StableDiffusion

    card = bench.registry.card(model)
    family = StableDiffusionXL if card.options["architecture"] == "sdxl" else StableDiffusion
    dtype = getattr(torch, card.dtype)
    pipeline = random_pipeline(card, dtype, bench.device, family.pipelines, family.pipeline_options).to(bench.device)
    pipeline.set_progress_bar_config(disable=True)
    recipes = [job.recipe for job in bench.jobs(model, BATCH)]
    _paint(pipeline, recipes)
    rounds = max(1, bench.batches[card.options["architecture"]] // 3)
    began = time.perf_counter()
    for _ in range(rounds):
        _paint(pipeline, recipes)
    rate = rounds * BATCH / (time.perf_counter() - began)
    del pipeline
    if bench.device != "cpu":
        torch.cuda.empty_cache()
    return rate


def _paint(pipeline: Any, recipes: Sequence[Recipe]) -> None:
    import torch

    from models.families.samplers import make_scheduler

    first = recipes[0]
    pipeline.scheduler = make_scheduler(Sampler.EULER, dict(pipeline.scheduler.config), first.steps)
    pipeline(
        [recipe.text for recipe in recipes],
        width=first.width_px,
        height=first.height_px,
        num_inference_steps=first.steps,
        guidance_scale=first.cfg_scale,
        generator=[torch.Generator("cpu").manual_seed(recipe.seed) for recipe in recipes],
    )


def _psnr(ours: dict[str, GeneratedImage], theirs: dict[str, GeneratedImage]) -> float:
    """Of all pictures together; 99 if they are equal."""
    import numpy as np

    pairs = [(ours[name].pixels, theirs[name].pixels) for name in ours]
    error = float(np.mean([(a.astype(float) - b.astype(float)) ** 2 for a, b in pairs]))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="The engine on a GPU against diffusers.")
    parser.add_argument("--small", action="store_true", help="narrow networks on the CPU, to see that this works")
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing more is begun")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    figures = run(small=options.small, minutes=options.minutes)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()

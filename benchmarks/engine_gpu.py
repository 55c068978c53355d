"""The engine on a GPU: full-size SD 1.5 and SDXL against diffusers' own pipelines in the same run, and transformers.

Needs `foundation/`, `configs/` and `models/` of the checkout, PyTorch, diffusers and transformers, and no Dagster:

    python -m benchmarks.engine_gpu [--small] [--models sd sdxl flux qwen_image z_image] [--minutes 8] [--json FILE]

Figures are printed, and written to FILE, as they are measured. A part that fails costs no figure of another; what does
not fit the time is left out or cut short, and named. Only compiling cannot be cut short.
"""

import argparse
import json
import logging
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from benchmarks.random_checkpoint import ARCHITECTURES, full_size, random_pipeline, random_registry
from configs.settings import EngineSettings
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import Sampler

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


class OutOfTimeError(Exception):
    """The time is up in the middle of a part."""


@dataclass
class Bench:
    """One run of this benchmark.

    Attributes:
        steps: denoising steps of each picture.
        batches: full batches to measure, by model.
        catalog: pictures of the catalog in which the GPU's busy share is taken.
        fast: the accelerator compared with eager.
        file: gets all figures, again after each.
        failures: the parts that failed.
    """

    registry: ModelRegistry
    device: str
    steps: int
    batches: dict[str, int]
    catalog: int
    fast: str
    deadline_s: float
    file: Path | None = None
    figures: Figures = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, name: str, value: float) -> None:
        """Keep, print and write a figure."""
        self.figures[name] = value
        verdict = ""
        if name in TARGETS:
            verdict = f"  {'reached' if value >= TARGETS[name] else 'MISSED'}: {TARGETS[name]:g} wanted"
        print(f"  {name:<52} {value:10.3f}{verdict}", flush=True)
        if self.file:
            self.file.write_text(json.dumps(self.figures, indent=2), encoding="utf-8")

    def part(self, what: str, measure: Callable[[], None]) -> None:
        """Measure one part, unless the time is up; if it fails, say so and go on."""
        try:
            self.check_time()
            self.attempt(what, measure)
        except OutOfTimeError:
            print(f"  {what}: left out or cut short, the time is up", flush=True)

    def attempt(self, what: str, action: Callable[[], None]) -> None:
        """Do something; if it fails, say so and go on."""
        try:
            action()
        except OutOfTimeError:
            raise
        except Exception:
            self.failures.append(what)
            print(f"  {what}: FAILED", flush=True)
            traceback.print_exc()

    def check_time(self) -> None:
        """OutOfTimeError if the time is up."""
        if time.monotonic() >= self.deadline_s:
            raise OutOfTimeError

    def painted(self, engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> dict[str, GeneratedImage]:
        """The pictures of jobs."""
        return {picture.id: picture for picture in self.pictures(engine, jobs)}

    def pictures(self, engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> Iterator[GeneratedImage]:
        """The pictures of jobs as they come; RuntimeError if one fails."""
        for result in engine.generate(jobs):
            if isinstance(result, FailedImage):
                raise RuntimeError(f"job {result.id} failed: {result.error}")
            self.check_time()
            yield result

    def rate(self, engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> float:
        """Pictures per second."""
        began = time.perf_counter()
        count = sum(1 for _ in self.pictures(engine, jobs))
        return count / (time.perf_counter() - began)

    def jobs(self, model: str, count: int) -> list[GenerationJob]:
        """Jobs of the model's own size, guided, that differ in their seeds."""
        params = {
            "steps": self.steps,
            "cfg_scale": 7.5,
            "sampler": "Euler",
            "resolution": self.registry.card(model).default_resolution,
        }
        request = parse_request({"text": "a red mug", "model_type": model, "params": params}, self.registry)
        kind = self._engine().kind(model, request.params.resolution)
        recipes = (plan_recipe(request, registry=self.registry, engine_kind=kind, seed=seed) for seed in range(count))
        return [GenerationJob(str(seed), recipe) for seed, recipe in enumerate(recipes)]

    @contextmanager
    def engine(self) -> Iterator[BatchingEngine]:
        """An engine whose models go when this ends."""
        engine = self._engine()
        try:
            yield engine
        finally:
            self.attempt("releasing the models", engine.release)

    def _engine(self) -> BatchingEngine:
        # Full batches from the first step on: other sizes would be compiled as well.
        settings = EngineSettings(device=self.device, max_batch_size=BATCH, max_batch_wait_ms=60_000)
        return BatchingEngine(self.registry, settings, PipelinePool())


def run(
    *, models: Sequence[str] = tuple(TFLOP), small: bool = False, minutes: float = 8.0, file: Path | None = None
) -> Bench:
    """Measure everything that fits the time.

    Args:
        models: `sd`, `sdxl`, or one of `transformers.ARCHITECTURES`, which takes less than 4 minutes each.
        small: narrow networks on the CPU, one batch each: to see that this works, not how fast it is.
        minutes: after which nothing more is begun, and what runs is ended at its next picture.
        file: for the figures as JSON.
    """
    import torch

    from models.families.quiet_libraries import quiet_libraries

    quiet_libraries()
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
        file=file,
    )
    if bench.device != "cpu":
        bench.part("device", lambda: _measure_device(bench))
    for name in models:
        if name in ARCHITECTURES:
            bench.part(name, partial(_measure_transformer, bench, name, small))
        else:
            _measure(bench, name)
    return bench


def _measure_transformer(bench: Bench, name: str, small: bool) -> None:
    full_size(name, small=small, device=bench.device, note=bench.note, check_time=bench.check_time)
    _note_memory(bench, name)


def _measure_device(bench: Bench, side: int = 8192, rounds: int = 50) -> None:
    """What a plain matrix product reaches on this very GPU; the limits are said of `DEVICE_TFLOPS`."""
    import torch

    print(f"  {torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    one = torch.randn(side, side, device=bench.device, dtype=torch.bfloat16)
    for count in (5, rounds):
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(count):
            one @ one
        torch.cuda.synchronize()
        spent_s = time.perf_counter() - began
    bench.note("device: TFLOP/s of a matrix product, bfloat16", rounds * 2 * side**3 / spent_s / 1e12)


def _measure(bench: Bench, name: str) -> None:
    fast, eager = f"{name}-{bench.fast}", f"{name}-eager"
    pictures: dict[str, dict[str, GeneratedImage]] = {}
    with bench.engine() as engine:
        bench.part(f"{name}: {bench.fast}", lambda: pictures.update(fast=_measure_fast(bench, engine, name)))
        if "fast" in pictures:
            bench.part(f"{name}: graph replays", lambda: _measure_replays(bench, engine, name))
            if name == "sd":
                bench.part("sd: the catalog", lambda: _measure_catalog(bench, engine, bench.jobs(fast, bench.catalog)))
    _note_memory(bench, name)
    bench.part(f"{name}: diffusers", lambda: _measure_diffusers(bench, name))
    with bench.engine() as engine:
        bench.part(
            f"{name}: the engine's eager mode",
            lambda: pictures.update(eager=bench.painted(engine, bench.jobs(eager, BATCH))),
        )
        if len(pictures) == 2:
            bench.note(f"{name}: PSNR of {bench.fast} to eager, dB", _psnr(pictures["fast"], pictures["eager"]))
        if "eager" in pictures:
            bench.part(f"{name}: the speed of eager mode", lambda: _measure_eager(bench, engine, name))


def _measure_fast(bench: Bench, engine: BatchingEngine, name: str) -> dict[str, GeneratedImage]:
    """The accelerator's speed, cold and warm, and pictures to compare."""
    model = f"{name}-{bench.fast}"
    began = time.perf_counter()
    pictures = bench.painted(engine, bench.jobs(model, BATCH))
    bench.note(f"{name}: first batch s, {bench.fast}", time.perf_counter() - began)
    rate = bench.rate(engine, bench.jobs(model, BATCH * bench.batches[name]))
    bench.note(f"{name}: pictures/s, {bench.fast}", rate)
    if bench.device != "cpu":
        share = rate * _tflop(name, bench) / DEVICE_TFLOPS
        bench.note(f"{name}: share of the arithmetic limit, {bench.fast}", share)
    return pictures


def _measure_eager(bench: Bench, engine: BatchingEngine, name: str) -> None:
    rate = bench.rate(engine, bench.jobs(f"{name}-eager", BATCH * max(1, bench.batches[name] // 2)))
    bench.note(f"{name}: pictures/s, eager", rate)


def _measure_diffusers(bench: Bench, name: str) -> None:
    reference = _diffusers_pictures_per_s(bench, f"{name}-eager")
    bench.note(f"{name}: pictures/s, diffusers eager", reference)
    if rate := bench.figures.get(f"{name}: pictures/s, {bench.fast}"):
        bench.note(f"{name}: {bench.fast} / diffusers eager", rate / reference)


def _note_memory(bench: Bench, name: str) -> None:
    """What is left on the GPU of a model that was released."""
    import torch

    if bench.device != "cpu":
        bench.note(f"{name}: GPU memory after release, GB", torch.cuda.memory_reserved() / 1e9)


def _tflop(name: str, bench: Bench) -> float:
    """Of one picture: each step has a guided and an unguided row."""
    row, decoding = TFLOP[name]
    return row * 2 * bench.steps + decoding


def _measure_replays(bench: Bench, engine: BatchingEngine, name: str) -> None:
    """CUDA graphs replayed per denoising step; 1 if each step is one graph."""
    import torch
    from torch._dynamo.utils import counters

    if bench.device == "cpu":
        bench.note(f"{name}: graph replays per step", 0.0)
        return
    replay, replays = torch.cuda.CUDAGraph.replay, list[object]()

    def counted(graph: Any) -> None:
        replays.append(graph)
        replay(graph)

    with patch.object(torch.cuda.CUDAGraph, "replay", counted):
        bench.painted(engine, bench.jobs(f"{name}-{bench.fast}", BATCH))
    bench.note(f"{name}: graph replays per step", len(replays) / bench.steps)
    bench.note(f"{name}: graphs that could not be captured", float(counters["inductor"]["cudagraph_skips"]))


def _measure_catalog(bench: Bench, engine: BatchingEngine, jobs: Sequence[GenerationJob]) -> None:
    """Pictures encoded and stored beside the GPU's work, and how busy that was."""
    with TemporaryDirectory(prefix="imagegenx-") as folder, ThreadPoolExecutor(4) as pool, _busy_shares() as shares:
        began = time.perf_counter()
        stored = [pool.submit(_store, picture, Path(folder)) for picture in bench.pictures(engine, jobs)]
        for one in stored:
            one.result()
        spent_s = time.perf_counter() - began
    bench.note("sd: pictures/s of a catalog, stored", len(jobs) / spent_s)
    if shares:
        bench.note("sd: GPU busy during a catalog", sum(shares) / len(shares))
    else:
        print("  sd: GPU busy during a catalog: not known, neither NVML nor nvidia-smi tells it here", flush=True)


def _store(picture: GeneratedImage, folder: Path) -> None:
    from models.encoding import encode_picture, rgb_picture

    data = encode_picture(rgb_picture(picture.pixels), "webp", 95, picture.recipe)
    (folder / f"{picture.id}.webp").write_bytes(data)


@contextmanager
def _busy_shares(every_s: float = 0.2) -> Iterator[list[float]]:
    """Fills with the GPU's busy share, 0 to 1, while this is open."""
    shares: list[float] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(every_s):
            shares.extend(_busy_share())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield shares
    finally:
        is_over.set()
        watcher.join()


def _busy_share() -> list[float]:
    """Of the first GPU, as NVML tells it, or nvidia-smi where `nvidia-ml-py` is missing; empty if neither does."""
    from models.gpus import read_gpu_loads

    if loads := read_gpu_loads():
        return [loads[0].utilization / 100]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    told = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return [float(told) / 100] if told.isdigit() else []


def _diffusers_pictures_per_s(bench: Bench, model: str) -> float:
    """diffusers' own pipeline on the same weights, in batches of equal parameters, which suits it best."""
    import torch

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
        bench.check_time()
        _paint(pipeline, recipes)
    rate = rounds * BATCH / (time.perf_counter() - began)
    del pipeline
    if bench.device != "cpu":
        torch.cuda.empty_cache()
    return rate


def _paint(pipeline: Any, recipes: Sequence[Recipe]) -> None:
    import torch

    from models.denoising.samplers import make_scheduler

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
    parser.add_argument(
        "--models", nargs="+", choices=[*TFLOP, *ARCHITECTURES], default=list(TFLOP), help="which to measure"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="after which nothing more is begun")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    logging.basicConfig(format="  %(message)s")
    # Compiling takes a minute or more, and says so.
    logging.getLogger("models.acceleration").setLevel(logging.INFO)
    bench = run(models=options.models, small=options.small, minutes=options.minutes, file=options.json)
    if bench.failures:
        raise SystemExit(f"failed: {', '.join(bench.failures)}")


if __name__ == "__main__":
    main()

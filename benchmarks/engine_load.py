"""Loads for the engine's benchmarks, and the same work done by diffusers' own pipelines, one request after another."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from configs.settings import EngineSettings, load_settings
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage
from models.planning import plan_recipe
from models.recipe import Recipe
from models.registry import ModelRegistry, open_registry
from models.request import Sampler

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

"""The sampler of one request: its own scheduler, timesteps and random generator."""

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import torch

from models.denoising.samplers import make_scheduler
from models.recipe import Recipe
from models.request import Mode
from models.sampler import Sampler, Schedule

_LOUD = 4096.5
"""Above the first sigma of zero-SNR schedules: that of cosine betas is 20,000."""


class Sampling:
    """Where one request is in its denoising process, and how it goes on.

    Does what diffusers' pipelines do around the UNet, for a batch of one. All random numbers of a request come from
    `generator`, on the CPU, in the order in which diffusers' pipelines draw them.
    """

    def __init__(self, recipe: Recipe, config: Mapping[str, Any], schedule: Schedule | None = None) -> None:
        """Start at the first step, or where the recipe's strength says.

        Args:
            config: of the model's own scheduler.
            schedule: how the steps are laid out; see `make_scheduler`.
        """
        strength = _strength(recipe)
        skipped = _skipped_steps(recipe.steps, strength)
        self._begin(recipe, _scheduler(recipe.sampler, config, recipe.steps, schedule), strength, skipped)

    def _begin(self, recipe: Recipe, scheduler: Any, strength: float, skipped_steps: int) -> None:
        self.scheduler = scheduler
        self.generator = torch.Generator("cpu").manual_seed(recipe.seed)
        self.strength = strength
        first = skipped_steps * self.scheduler.order
        self.timesteps: torch.Tensor = self.scheduler.timesteps[first:]
        if hasattr(self.scheduler, "set_begin_index"):
            # Looked up by its timestep, it would be another step where the first ones round to the same.
            self.scheduler.set_begin_index(first)
        self._times: list[float] = self.timesteps.tolist()
        self._options = _step_options(self.scheduler, self.generator)
        self.done = 0

    @property
    def total(self) -> int:
        """UNet passes of the whole run; more than the recipe's steps for Heun and PNDM."""
        return len(self._times)

    @property
    def is_done(self) -> bool:
        """No step is left."""
        return self.done == self.total

    @property
    def time(self) -> float:
        """The timestep of the next step, as the UNet takes it."""
        return float(self._times[self.done])

    def noise(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The request's next normal numbers, on the CPU."""
        return torch.randn(shape, generator=self.generator, dtype=dtype)

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (1, C, H, W) as noisy as before step number `step`."""
        noisy: torch.Tensor = self.scheduler.add_noise(latents, noise, self.timesteps[step : step + 1])
        return noisy

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """The latents as the UNet takes them at the next step."""
        scaled: torch.Tensor = self.scheduler.scale_model_input(latents, self.timesteps[self.done])
        return scaled

    def estimate(self, prediction: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The latents without noise that the next step heads for; all (1, C, H, W).

        The network sees them with unit variance, whatever the solver: z = sqrt(a) x + sqrt(1 - a) noise.
        """
        noisy, alpha = self.scaled(latents), self._alpha()
        signal, noise = max(alpha, 1e-4) ** 0.5, (1 - alpha) ** 0.5
        clean: dict[str, Callable[[], torch.Tensor]] = {
            "epsilon": lambda: (noisy - noise * prediction) / signal,
            "v_prediction": lambda: signal * noisy - noise * prediction,
            "sample": lambda: prediction,
        }
        return clean[self.scheduler.config.prediction_type]()

    def _alpha(self) -> float:
        """The share of the signal at the next step, between those of the whole timesteps around it."""
        alphas, low = self.scheduler.alphas_cumprod, int(self.time)
        high = min(low + 1, len(alphas) - 1)
        return float(alphas[low] + (self.time - low) * (alphas[high] - alphas[low]))

    def advance(self, prediction: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The latents after the next step, given the UNet's guided prediction; both (1, C, H, W)."""
        time = self.timesteps[self.done]
        after: torch.Tensor = self.scheduler.step(prediction, time, latents, **self._options, return_dict=False)[0]
        self.done += 1
        return after


def _strength(recipe: Recipe) -> float:
    """The part of the steps to run: at least one, whatever the recipe's strength."""
    if recipe.mode not in (Mode.IMG2IMG, Mode.INPAINT):
        return 1.0
    # The margin keeps int(steps × strength) from rounding to 0.
    return min(1.0, max(recipe.strength or 1.0, (1 + 1e-6) / recipe.steps))


def _skipped_steps(steps: int, strength: float) -> int:
    return max(steps - min(int(steps * strength), steps), 0)


def _step_options(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    parameters = inspect.signature(type(scheduler).step).parameters
    return {"generator": generator} if "generator" in parameters else {}


def _scheduler(sampler: Sampler, config: Mapping[str, Any], steps: int, schedule: Schedule | None) -> Any:
    """A scheduler of its own for one run; making one anew each time would cost more than a step's arithmetic."""
    return copy.deepcopy(_prototype(sampler, as_key(config), steps, schedule))


def as_key(config: Mapping[str, Any]) -> str:
    """A scheduler's configuration, JSON, by which what is made of it can be kept."""
    return json.dumps(dict(config), sort_keys=True)


@lru_cache(maxsize=128)
def _prototype(sampler: Sampler, config: str, steps: int, schedule: Schedule | None) -> Any:
    scheduler: Any = make_scheduler(sampler, json.loads(config), steps, schedule)
    scheduler.set_timesteps(steps)
    if sampler is Sampler.EULER_A and scheduler.sigmas[0] > _LOUD:
        # float32 rounds its square to one that leaves the next step less than no noise: NaN.
        scheduler.sigmas = scheduler.sigmas.double()
    if hasattr(scheduler, "get_lms_coefficient"):
        # An integral, solved numerically at each step: 2.5 ms, as long as the UNet takes for a small picture's row.
        scheduler.get_lms_coefficient = cache(scheduler.get_lms_coefficient)
    return scheduler

"""The sampler of one request of a flow-matching model: its noise levels, its solver, its random generator."""

import copy
import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from models.denoising.sampling import Sampling, as_key
from models.errors import ModelLoadError
from models.recipe import Recipe
from models.request import Mode
from models.sampler import Sampler

_FLOW: Mapping[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
_SOLVERS: Mapping[Sampler, Any] = {
    Sampler.HEUN: FlowMatchHeunDiscreteScheduler,
    Sampler.DPMPP_2M: lambda: DPMSolverMultistepScheduler(**_FLOW),
    Sampler.UNIPC: lambda: UniPCMultistepScheduler(**_FLOW),
}
"""Beside Euler."""

_FIRST_SIGMA = 1 - 1e-6
"""Of multistep solvers, which take the logarithm of what is not noise; as diffusers has it for UniPC."""

Sigmas = tuple[float, ...] | None


class FlowSampling(Sampling):
    """See `Sampling`. Noise levels (sigmas, 1 to 0) are those of the checkpoint, whatever the solver.

    Args:
        config: of the model's own scheduler.
        sigmas: levels before they are shifted, as the model's pipeline asks for; None for the scheduler's own.
        mu: how far they are shifted, where the scheduler shifts by the size of the picture.
    """

    def __init__(self, recipe: Recipe, config: Mapping[str, Any], sigmas: Sigmas, mu: float) -> None:
        is_from_picture = recipe.mode in (Mode.IMG2IMG, Mode.INPAINT)
        strength = (recipe.strength or 1.0) if is_from_picture else 1.0
        skipped = int(min(recipe.steps - recipe.steps * strength, recipe.steps - 1))
        prototype = _prototype(recipe.sampler, as_key(config), recipe.steps, sigmas, mu)
        self._begin(recipe, copy.deepcopy(prototype), strength, skipped)
        self._sigmas = self.scheduler.sigmas[skipped * self.scheduler.order :].clone()

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, step: int) -> torch.Tensor:
        """Latents (1, C, H, W) as noisy as before step number `step`."""
        sigma = self._sigmas[step].to(latents.device, latents.dtype)
        noisy: torch.Tensor = sigma * noise + (1.0 - sigma) * latents
        return noisy

    def estimate(self, prediction: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """The latents without noise that the next step heads for; all (1, C, H, W)."""
        clean: torch.Tensor = latents - self._sigmas[self.done].to(latents.device, latents.dtype) * prediction
        return clean

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """The latents themselves."""
        return latents


def dynamic_shift(tokens: int, config: Mapping[str, Any]) -> float:
    """How far the noise levels of a picture are shifted (arXiv:2403.03206, section 5.3.2), `mu` in diffusers.

    Args:
        tokens: of the picture, as the transformer sees it.
    """
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    at_low, at_high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (at_high - at_low) / (high - low)
    return float(tokens * slope + at_low - slope * low)


def even_sigmas(steps: int) -> Sigmas:
    """From pure noise down, the last step as long as the others."""
    return tuple(torch.linspace(1.0, 1 / steps, steps, dtype=torch.float64).tolist())


@lru_cache(maxsize=128)
def _prototype(sampler: Sampler, config: str, steps: int, sigmas: Sigmas, mu: float) -> Any:
    own = _own_scheduler(json.loads(config))
    own.set_timesteps(steps, sigmas=None if sigmas is None else list(sigmas), mu=mu)
    if sampler is Sampler.EULER:
        return own
    solver = _SOLVERS[sampler]()
    solver.set_timesteps(steps)
    if sampler is Sampler.HEUN:
        solver.timesteps, solver.sigmas = _each_twice(own.timesteps), _each_twice(own.sigmas[:-1], own.sigmas[-1:])
        return solver
    solver.timesteps, solver.sigmas = own.timesteps, own.sigmas
    solver.sigmas[0] = min(float(solver.sigmas[0]), _FIRST_SIGMA)
    return solver


def _own_scheduler(config: Mapping[str, Any]) -> Any:
    """The checkpoint's noise levels, with Euler's steps."""
    if "beta_start" in config and not config.get("use_flow_sigmas"):
        raise ModelLoadError(f"the checkpoint's scheduler ({config.get('_class_name')}) is not one of flow matching.")
    known = inspect.signature(FlowMatchEulerDiscreteScheduler.__init__).parameters
    options = {"shift": config["flow_shift"]} if "flow_shift" in config else {}
    return FlowMatchEulerDiscreteScheduler(**options, **{key: config[key] for key in known if key in config})


def _each_twice(values: torch.Tensor, last: torch.Tensor | None = None) -> torch.Tensor:
    """All but the first twice, as Heun passes them."""
    twice = torch.cat([values[:1], values[1:].repeat_interleave(2)])
    return twice if last is None else torch.cat([twice, last])

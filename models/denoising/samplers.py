"""The samplers of a request as diffusers schedulers, built from the model's noise schedule and nothing else."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteSchedulerOutput

from models.errors import ModelError
from models.noise_schedule import NoiseSchedule
from models.sampler import SCHEDULES, Sampler, Schedule, schedule_problem

_LAST_ALPHA_CUMPROD = 2**-24
"""Stands for zero in schedules that end in pure noise, as in diffusers: their first sigma would be infinite."""

_KARRAS_SIGMA_MAX = 80.0
"""Where Karras noise levels start in such schedules (arXiv:2206.00364, table 1). From near infinity, half of the steps
would fall on pure noise, and diffusers would lose count of those that round to the same timestep."""


class _HeunFromNoise(HeunDiscreteScheduler):  # type: ignore[misc]
    """Heun's solver, whose step from pure noise is Euler's.

    The mean of both slopes would multiply the difference of what the network sees at both ends by half the ratio of
    their noise levels, hundreds where one of them stands for infinity, and leave nothing else of a picture.
    """

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, return_dict: bool = True) -> Any:
        after, clean = super().step(model_output, timestep, sample, return_dict=False)
        corrects_first = self.step_index == self.order and self.sigmas[0] > _KARRAS_SIGMA_MAX
        after = sample if corrects_first else after
        return (after, clean) if not return_dict else HeunDiscreteSchedulerOutput(after, clean)


_SCHEDULERS: Mapping[Sampler, Any] = {
    Sampler.EULER: EulerDiscreteScheduler,
    Sampler.EULER_A: EulerAncestralDiscreteScheduler,
    Sampler.DPMPP_2M: DPMSolverMultistepScheduler,
    Sampler.DPMPP_2M_KARRAS: DPMSolverMultistepScheduler,
    Sampler.DDIM: DDIMScheduler,
    Sampler.UNIPC: UniPCMultistepScheduler,
    Sampler.LMS: LMSDiscreteScheduler,
    Sampler.HEUN: _HeunFromNoise,
    Sampler.PNDM: PNDMScheduler,
    Sampler.LCM: LCMScheduler,
}
_WITHOUT_ZERO_SNR = frozenset({Sampler.LMS, Sampler.HEUN, Sampler.PNDM})
_UNIFORM_BY_LINSPACE = frozenset({Sampler.DPMPP_2M, Sampler.UNIPC})
"""What diffusers calls linspace is SGM-uniform there."""
_WITHOUT_SAMPLE = frozenset({Sampler.EULER_A, Sampler.PNDM})
"""They cannot run a model that predicts the picture itself."""


def make_scheduler(
    sampler: Sampler, config: Mapping[str, Any], steps: int, schedule: Schedule | None = None
) -> SchedulerMixin:
    """A fresh scheduler for one run, as diffusers' pipelines of Stable Diffusion have it.

    Args:
        config: the configuration of whatever scheduler the model was saved with; see `NoiseSchedule`.
        steps: denoising steps of the run.
        schedule: how to lay them out; by default as the model says, else as diffusers does for this sampler.
    Raises:
        ModelLoadError: if the configuration holds no noise schedule for it.
        ModelError: if the sampler cannot run the model, or in this way.
    """
    noise = NoiseSchedule.of(config)
    if noise.prediction_type == "sample" and sampler in _WITHOUT_SAMPLE:
        able = ", ".join(other for other in Sampler if other not in _WITHOUT_SAMPLE)
        raise ModelError(f"sampler {sampler} cannot run a model that predicts the sample. Those that can: {able}.")
    if schedule and (problem := schedule_problem(sampler, schedule)):
        raise ModelError(problem)
    spacing = schedule or noise.spacing
    options = _trained_with(noise, sampler) | _solver_options(sampler, noise, steps, spacing)
    kind: Any = _SCHEDULERS[sampler]
    if spacing:
        is_uniform = spacing is Schedule.SGM_UNIFORM
        options["timestep_spacing"] = "linspace" if is_uniform else spacing.value
        if SCHEDULES[sampler]:
            kind = _exact(kind, is_sgm_uniform=is_uniform and sampler not in _UNIFORM_BY_LINSPACE)
    scheduler: SchedulerMixin = kind(**options)
    return scheduler


def _solver_options(sampler: Sampler, noise: NoiseSchedule, steps: int, spacing: Schedule | None) -> dict[str, Any]:
    """What makes the solver the one that its name means; all that is not said has diffusers' default."""
    match sampler:
        case Sampler.DPMPP_2M | Sampler.DPMPP_2M_KARRAS:
            is_karras = sampler is Sampler.DPMPP_2M_KARRAS
            return {"steps_offset": 1, "algorithm_type": "dpmsolver++", "use_karras_sigmas": is_karras}
        case Sampler.DDIM:
            # A trailing run ends before the first noise level, a leading one on it, as Stable Diffusion's do.
            ends_clean = spacing is Schedule.TRAILING
            return {"steps_offset": 1, "clip_sample": False, "set_alpha_to_one": ends_clean}
        case Sampler.PNDM:
            return {"steps_offset": 1, "skip_prk_steps": True, "set_alpha_to_one": False}
        case Sampler.LCM:
            # It picks its steps among these; fewer of them would refuse longer runs.
            picked_from = max(noise.lcm_steps, steps)
            return {"original_inference_steps": picked_from, "timestep_scaling": noise.lcm_scaling}
    return {"steps_offset": 1}


def _trained_with(noise: NoiseSchedule, sampler: Sampler) -> dict[str, Any]:
    options = {"num_train_timesteps": noise.steps, "prediction_type": noise.prediction_type} | _betas(noise)
    if not noise.is_zero_snr:
        return options
    if sampler is Sampler.DPMPP_2M_KARRAS:
        betas = _zero_snr_betas(noise, highest_sigma=_KARRAS_SIGMA_MAX)
        return options | {"trained_betas": betas, "num_train_timesteps": len(betas)}
    if sampler in _WITHOUT_ZERO_SNR:
        return options | {"trained_betas": _zero_snr_betas(noise)}
    return options | {"rescale_betas_zero_snr": True}


def _betas(noise: NoiseSchedule) -> dict[str, Any]:
    if noise.trained_betas is not None:
        return {"trained_betas": list(noise.trained_betas)}
    return {"beta_start": noise.beta_start, "beta_end": noise.beta_end, "beta_schedule": noise.beta_schedule}


def _zero_snr_betas(noise: NoiseSchedule, highest_sigma: float = math.inf) -> list[float]:
    """Betas whose last step is pure noise (arXiv:2305.08891, algorithm 1), cut off above `highest_sigma`."""
    betas = DDIMScheduler(num_train_timesteps=noise.steps, **_betas(noise)).betas
    roots = torch.cumprod(1.0 - betas.double(), dim=0).sqrt()
    roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    alphas_cumprod = (roots**2).clamp(min=_LAST_ALPHA_CUMPROD)
    alphas_cumprod = alphas_cumprod[(1 - alphas_cumprod) / alphas_cumprod <= highest_sigma**2]
    alphas = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
    return [float(beta) for beta in 1.0 - alphas]


@cache
def _exact(kind: Any, *, is_sgm_uniform: bool) -> Any:
    """A scheduler class whose runs have exactly as many steps as asked for.

    diffusers' trailing spacing has one too many for some counts (61 of 1000: a rounding error), at timestep -1.
    SGM-uniform is linspace of one step more, without its last.
    """

    class Exact(kind):  # type: ignore[misc]
        timesteps: torch.Tensor
        sigmas: torch.Tensor

        def set_timesteps(self, num_inference_steps: int, *args: Any, **options: Any) -> None:
            super().set_timesteps(num_inference_steps + is_sgm_uniform, *args, **options)
            if is_sgm_uniform or self.timesteps[-1] < 0:
                self.timesteps = self.timesteps[: -self.order]
                if hasattr(self, "sigmas"):
                    self.sigmas = torch.cat([self.sigmas[: -1 - self.order], self.sigmas[-1:]])
            self.num_inference_steps = num_inference_steps

    return Exact

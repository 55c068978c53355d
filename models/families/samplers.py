"""The samplers of a request as diffusers schedulers, built from the model's own noise schedule."""

import math
from collections.abc import Mapping
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

from models.request import Sampler

_LAST_ALPHA_CUMPROD = 2**-24
"""Stands for zero in schedules that end in pure noise, as in diffusers: their first sigma would be infinite."""

_KARRAS_SIGMA_MAX = 80.0
"""Where Karras noise levels start in such schedules (arXiv:2206.00364, table 1). From near infinity, half of the steps
would fall on pure noise, and diffusers would lose count of those that round to the same timestep."""

_SCHEDULERS: dict[Sampler, tuple[Any, dict[str, object]]] = {
    Sampler.EULER: (EulerDiscreteScheduler, {}),
    Sampler.EULER_A: (EulerAncestralDiscreteScheduler, {}),
    Sampler.DPMPP_2M: (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    Sampler.DPMPP_2M_KARRAS: (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
    ),
    Sampler.DDIM: (DDIMScheduler, {}),
    Sampler.UNIPC: (UniPCMultistepScheduler, {}),
    Sampler.LMS: (LMSDiscreteScheduler, {}),
    Sampler.HEUN: (HeunDiscreteScheduler, {}),
    Sampler.PNDM: (PNDMScheduler, {"skip_prk_steps": True}),
    Sampler.LCM: (LCMScheduler, {}),
}
_WITHOUT_ZERO_SNR = frozenset({Sampler.LMS, Sampler.HEUN, Sampler.PNDM})


def make_scheduler(sampler: Sampler, config: Mapping[str, Any], steps: int) -> SchedulerMixin:
    """A fresh scheduler for one run, with the noise schedule and prediction type the model was trained with.

    Args:
        config: the configuration of the model's own scheduler.
        steps: denoising steps of the run.
    """
    kind, options = _SCHEDULERS[sampler]
    if config.get("rescale_betas_zero_snr") and sampler in _WITHOUT_ZERO_SNR:
        options = options | {"trained_betas": _zero_snr_betas(config)}
    if config.get("rescale_betas_zero_snr") and sampler is Sampler.DPMPP_2M_KARRAS:
        betas = _zero_snr_betas(config, highest_sigma=_KARRAS_SIGMA_MAX)
        options = options | {"rescale_betas_zero_snr": False, "trained_betas": betas, "num_train_timesteps": len(betas)}
    if sampler is Sampler.LCM:
        # It picks its steps among these; its default of 50 would refuse longer runs.
        options = options | {"original_inference_steps": max(50, steps)}
    scheduler: SchedulerMixin = kind.from_config(config, **options)
    return scheduler


def _zero_snr_betas(config: Mapping[str, Any], highest_sigma: float = math.inf) -> list[float]:
    """Betas whose last step is pure noise (arXiv:2305.08891, algorithm 1), cut off above `highest_sigma`."""
    betas = _SCHEDULERS[Sampler.DDIM][0].from_config(config, rescale_betas_zero_snr=False).betas
    roots = torch.cumprod(1.0 - betas.double(), dim=0).sqrt()
    roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    alphas_cumprod = (roots**2).clamp(min=_LAST_ALPHA_CUMPROD)
    alphas_cumprod = alphas_cumprod[(1 - alphas_cumprod) / alphas_cumprod <= highest_sigma**2]
    alphas = torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])
    return [float(beta) for beta in 1.0 - alphas]

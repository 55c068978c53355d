"""What a checkpoint's files say, without loading it, of what a request can ask of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from models.model_files import INDEX, read_config
from models.sampler import Sampler


class Guidance(StrEnum):
    """What `cfg_scale` is for a model."""

    SECOND_PROMPT = "classifier-free: guided away from the negative prompt"
    EMBEDDED = "an input of the network, without a negative prompt"
    NONE = "distilled into the network: it cannot be chosen"


@dataclass(frozen=True)
class Traits:
    """None and 8 where nothing is known.

    Attributes:
        multiple_px: the sides of pictures are multiples of it.
        own_sampler: the only one, of a checkpoint that keeps its own solver.
        overflows: its numbers do not fit float16, and its pictures would be black.
    """

    guidance: Guidance | None = None
    multiple_px: int = 8
    own_sampler: Sampler | None = None
    overflows: bool = False


_UNETS = ("sd", "sdxl")
_FLUX_LIKE = ("Flux", "FluxKontext")
_GUIDED = {"StableDiffusion3": 16, "ZImage": 16, "Sana": 32, "CogView4": 16, "AuraFlow": 16}
"""Pipelines guided by a second prompt, and the multiples of their sides."""

_OVERFLOW = ("QwenImage", "ZImage")
_PIPELINES = {"flux": "Flux", "sd3": "StableDiffusion3", "qwen_image": "QwenImage", "z_image": "ZImage"}
_OWN_SAMPLERS = {
    "FlowMatchEulerDiscreteScheduler": Sampler.EULER,
    "FlowMatchHeunDiscreteScheduler": Sampler.HEUN,
    "FlowMatchLCMScheduler": Sampler.LCM,
    "DPMSolverMultistepScheduler": Sampler.DPMPP_2M,
    "UniPCMultistepScheduler": Sampler.UNIPC,
}


def traits(family: str, path: Path | None, options: Mapping[str, Any]) -> Traits:
    """What is known of a model of a family, with its card's options, from its folder, if it is here."""
    name, index = _PIPELINES.get(family), read_config(path, INDEX)
    if family == "diffusers":
        name = str(index.get("_class_name")).removesuffix("Pipeline")
    return Traits(
        _guidance(family, name, path, options),
        16 if name in (*_FLUX_LIKE, "QwenImage") else _GUIDED.get(name or "", 8),
        own_sampler(read_config(path, "scheduler/scheduler_config.json")) if family == "diffusers" else None,
        overflows=name in _OVERFLOW,
    )


def own_sampler(config: Mapping[str, Any]) -> Sampler | None:
    """The one sampler of a checkpoint whose scheduler keeps its own solver, as flow-matching ones do; None if any.

    A solver that no sampler stands for goes by Euler.
    """
    is_flow = config.get("prediction_type") == "flow_prediction" or config.get("use_flow_sigmas", False)
    if not config or ("beta_start" in config and not is_flow):
        return None
    return _OWN_SAMPLERS.get(config.get("_class_name", ""), Sampler.EULER)


def has_transformer(path: Path | None) -> bool:
    """Whether a checkpoint is a diffusion transformer, whose numbers overflow in float16."""
    return "transformer" in read_config(path, INDEX)


def _guidance(family: str, name: str | None, path: Path | None, options: Mapping[str, Any]) -> Guidance | None:
    if name in _FLUX_LIKE:
        return _embedded_guidance(path, options, Guidance.NONE)
    if name == "QwenImage":
        return _embedded_guidance(path, options, Guidance.SECOND_PROMPT)
    if name in _GUIDED:
        return Guidance.SECOND_PROMPT
    if family not in _UNETS and "unet" not in read_config(path, INDEX):
        return None
    is_embedded = read_config(path, "unet/config.json").get("time_cond_proj_dim")
    return Guidance.EMBEDDED if is_embedded else Guidance.SECOND_PROMPT


def _embedded_guidance(path: Path | None, options: Mapping[str, Any], otherwise: Guidance) -> Guidance | None:
    """Embedded where the transformer says so, and the card nothing else."""
    if options.get("true_cfg"):
        return Guidance.SECOND_PROMPT
    config = read_config(path, "transformer/config.json")
    if not config:
        return None
    return Guidance.EMBEDDED if config.get("guidance_embeds") else otherwise

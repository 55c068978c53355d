"""What a checkpoint's files say, without loading it, of what a request can ask of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.digests import FileMark
from models.model_files import INDEX


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
    """

    guidance: Guidance | None = None
    multiple_px: int = 8


_FLUX_LIKE = ("Flux", "FluxKontext")
_GUIDED = {"StableDiffusion3": 16, "ZImage": 16, "Sana": 32, "CogView4": 16, "AuraFlow": 16}
"""Pipelines guided by a second prompt, and the multiples of their sides."""

_PIPELINES = {"flux": "Flux", "sd3": "StableDiffusion3", "qwen_image": "QwenImage", "z_image": "ZImage"}


def traits(family: str, path: Path | None, options: Mapping[str, Any]) -> Traits:
    """What is known of a model of a family, with its card's options, from its folder, if it is here."""
    name = _PIPELINES.get(family)
    if family == "diffusers":
        name = str(_read(path, INDEX).get("_class_name")).removesuffix("Pipeline")
    if name in _FLUX_LIKE:
        return Traits(_embedded_guidance(path, options, Guidance.NONE), 16)
    if name == "QwenImage":
        return Traits(_embedded_guidance(path, options, Guidance.SECOND_PROMPT), 16)
    return Traits(Guidance.SECOND_PROMPT, _GUIDED[name]) if name in _GUIDED else Traits()


def has_transformer(path: Path | None) -> bool:
    """Whether a checkpoint is a diffusion transformer, whose numbers overflow in float16."""
    return "transformer" in _read(path, INDEX)


def _embedded_guidance(path: Path | None, options: Mapping[str, Any], otherwise: Guidance) -> Guidance | None:
    """Embedded where the transformer says so, and the card nothing else."""
    if options.get("true_cfg"):
        return Guidance.SECOND_PROMPT
    config = _read(path, "transformer/config.json")
    if not config:
        return None
    return Guidance.EMBEDDED if config.get("guidance_embeds") else otherwise


def _read(path: Path | None, name: str) -> Mapping[str, Any]:
    """A JSON file of the checkpoint; empty if it is not here or says nothing."""
    if path is None or not path.is_dir():
        return {}
    try:
        return _read_file(path / name, FileMark.of(path / name))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=256)
def _read_file(file: Path, mark: FileMark) -> Mapping[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}

"""A LoRA file's weights as the pipelines of diffusers apply them rightly."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from models.errors import ModelError
from models.lora_file import alpha_name, layers, lora_problem, peft_configuration, up_name


def read_lora(file: Path) -> dict[str, torch.Tensor]:
    """The matrices of a plain LoRA, each layer's own alpha multiplied in, all of one rank.

    diffusers takes one alpha and, where no alphas are given, one rank for all layers: alphas and ranks that differ from
    layer to layer would scale some of them wrongly. Zeros fill the smaller ranks up.

    Raises:
        ModelError: if the file is no plain LoRA.
    """
    if problem := lora_problem(file):
        raise ModelError(problem)
    with safe_open(str(file), framework="pt") as opened:
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 it is no mapping
        settings = peft_configuration(opened.metadata())
    downs = layers(list(weights))
    rank = max(weights[name].shape[0] for name in downs)
    plain: dict[str, torch.Tensor] = {}
    for name in downs:
        down, up = weights[name], weights[up_name(name)]
        scale = _alpha(name, weights, settings, down.shape[0]) / down.shape[0]
        plain[name] = _filled(down, rank, dim=0)
        plain[up_name(name)] = _filled(up if scale == 1 else (up.float() * scale).to(up.dtype), rank, dim=1)
    return plain


def _alpha(name: str, weights: dict[str, Any], settings: dict[str, object], rank: int) -> float:
    if (own := weights.get(alpha_name(name))) is not None:
        return float(own)
    said = settings.get(f"{name.partition('.')[0]}.lora_alpha", rank)
    return float(said) if isinstance(said, int | float) else rank


def _filled(matrix: torch.Tensor, rank: int, dim: int) -> torch.Tensor:
    missing = rank - matrix.shape[dim]
    if not missing:
        return matrix
    shape = list(matrix.shape)
    shape[dim] = missing
    return torch.cat([matrix, matrix.new_zeros(shape)], dim=dim)

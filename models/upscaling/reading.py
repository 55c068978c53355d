"""Upscaling networks read from weights files, in the layouts in which they are published."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundation.error_text import cause_text
from models.errors import ModelLoadError
from models.upscaling.architectures import Architecture, architecture_of, architecture_problem, plain_name
from models.upscaling.compact import compact_network
from models.upscaling.dat import dat_network, dat_weights
from models.upscaling.hat import hat_network
from models.upscaling.network import UpscalingNetwork
from models.upscaling.plksr import plksr_network, plksr_weights
from models.upscaling.rrdb import rrdb_network, rrdb_weights
from models.upscaling.span import span_network, span_weights
from models.upscaling.swinir import swinir_network
from models.upscaling.transformer import learned

Weights = Mapping[str, Tensor]
_READERS: Mapping[str, tuple[Callable[[Weights], UpscalingNetwork], Callable[[Weights], Weights]]] = {
    Architecture.RRDB: (rrdb_network, rrdb_weights),
    Architecture.COMPACT: (compact_network, lambda weights: weights),
    Architecture.SPAN: (span_network, span_weights),
    Architecture.PLKSR: (plksr_network, plksr_weights),
    Architecture.SWINIR: (swinir_network, learned),
    Architecture.HAT: (hat_network, learned),
    Architecture.DAT: (dat_network, dat_weights),
}
"""By architecture: makes the network that published weights are of, and gives these its own names."""

_OUTER = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "generator")


def read_network(path: Path) -> UpscalingNetwork:
    """Read an upscaling network, its architecture and shape taken from its weights.

    Args:
        path: `.safetensors`, or `.pth` holding tensors only (bare, or below `params_ema`, `params` and the like).
    Raises:
        ModelLoadError: if the file is damaged or of another architecture.
    """
    weights = _read_weights(path)
    architecture = architecture_of(weights)
    if reason := architecture_problem(architecture):
        raise ModelLoadError(f"upscaling network '{path.name}': {reason}.")
    make, rename = _READERS[architecture or ""]
    try:
        network = make(weights)
        network.load_state_dict(rename(weights))
    except (KeyError, ValueError, RuntimeError, IndexError) as exc:
        raise ModelLoadError(
            f"upscaling network '{path.name}': not a whole network of {architecture}. {cause_text(exc)}"
        ) from exc
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, "cpu", weights_only=True)
        while inner := next((loaded[name] for name in _OUTER if isinstance(loaded.get(name), dict)), None):
            loaded = inner
        tensors = {name: one for name, one in loaded.items() if isinstance(one, Tensor)}
        return {plain_name(name): one.float() if one.is_floating_point() else one for name, one in tensors.items()}
    except Exception as exc:  # both libraries raise many kinds on damaged files; every way out is this one error
        reason = cause_text(exc)
        raise ModelLoadError(f"upscaling network '{path.name}' cannot be read: {reason}") from exc

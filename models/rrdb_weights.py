"""Weights files of RRDB networks, in the layouts in which ESRGAN and Real-ESRGAN networks are published."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from foundation.error_text import cause_text
from models.errors import ModelLoadError
from models.rrdb import RRDBNet

_OPEN_LAYOUT = (
    ("RRDB_trunk.", "body."),
    (".RDB", ".rdb"),
    ("trunk_conv", "conv_body"),
    ("upconv", "conv_up"),
    ("HRconv", "conv_hr"),
)
_SEQUENTIAL_BODY = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)")
_SEQUENTIAL_BODY_END = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
_SEQUENTIAL = re.compile(r"model\.(\d+)\.(weight|bias)")


def read_network(path: Path) -> RRDBNet:
    """Read an RRDB network, its shape taken from its weights.

    Args:
        path: `.safetensors`, or `.pth` holding tensors only (bare, or under `params_ema` or `params`).
    Raises:
        ModelLoadError: if the file is damaged or of another architecture.
    """
    weights = _with_our_names(_read_weights(path))
    try:
        network = _network_for(weights)
        network.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError) as exc:
        raise ModelLoadError(
            f"upscaling network '{path.name}': not an RRDB network of ESRGAN or Real-ESRGAN. {cause_text(exc)}"
        ) from exc
    return network


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, "cpu", weights_only=True)
        weights = next((loaded[name] for name in ("params_ema", "params") if name in loaded), loaded)
        return {name.removeprefix("module."): tensor.float() for name, tensor in weights.items()}
    except Exception as exc:  # both libraries raise many kinds on damaged files; every way out is this one error
        reason = cause_text(exc)
        raise ModelLoadError(f"upscaling network '{path.name}' cannot be read: {reason}") from exc


def _with_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the two older layouts of the same network: `RRDB_trunk.…` and the sequential `model.…`."""
    if "model.0.weight" not in weights:
        return {_open_layout_name(name): tensor for name, tensor in weights.items()}
    ends = sorted({int(match[1]) for name in weights if (match := _SEQUENTIAL.fullmatch(name)) and match[1] != "0"})
    doublings = {end: f"conv_up{number}" for number, end in enumerate(ends[:-2], 1)}
    places = {0: "conv_first"} | doublings | dict(zip(ends[-2:], ("conv_hr", "conv_last"), strict=False))
    return {_sequential_layout_name(name, places): tensor for name, tensor in weights.items()}


def _open_layout_name(name: str) -> str:
    for old, new in _OPEN_LAYOUT:
        name = name.replace(old, new)
    return name


def _sequential_layout_name(name: str, places: Mapping[int, str]) -> str:
    if match := _SEQUENTIAL_BODY.fullmatch(name):
        return "body.{}.rdb{}.conv{}.{}".format(*match.groups())
    if match := _SEQUENTIAL_BODY_END.fullmatch(name):
        return f"conv_body.{match[1]}"
    match = _SEQUENTIAL.fullmatch(name)
    return f"{places[int(match[1])]}.{match[2]}" if match else name


def _network_for(weights: Mapping[str, Tensor]) -> RRDBNet:
    """Build the network that the shapes of its weights describe."""
    num_features, num_folded = weights["conv_first.weight"].shape[:2]
    num_doublings = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in weights)
    unshuffle = math.isqrt(num_folded // 3)
    if num_folded != 3 * unshuffle**2 or 2**num_doublings % unshuffle or weights["conv_last.weight"].shape[0] != 3:
        raise ValueError(
            f"{num_folded} input and {weights['conv_last.weight'].shape[0]} output channels: RGB is needed"
        )
    return RRDBNet(
        num_features=num_features,
        num_blocks=len({name.split(".")[1] for name in weights if name.startswith("body.")}),
        growth=weights["body.0.rdb1.conv1.weight"].shape[0],
        scale=2**num_doublings // unshuffle,
        unshuffle=unshuffle,
    )

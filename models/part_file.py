"""One network in a file of its own, .safetensors or GGUF: its header, and its tensors as plain numbers."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.error_text import cause_text
from models.digests import FileMark
from models.errors import ModelLoadError
from models.safetensors_header import Header, HeaderError, TensorEntry, read_header

if TYPE_CHECKING:
    import torch

GGUF = ".gguf"
_GGUF_SHAPE = "comfy.gguf.orig_shape."
"""Begins the names of fields that tell the shape of a tensor that was flattened to be quantised."""

_SCALES = re.compile(r"(?P<layer>.+)\.(?P<role>scale_weight|weight_scale|scale_input|input_scale|comfy_quant)")
_UNUSED = re.compile(r"(.*\.)?scaled_fp8|model_ema\..*|loss\..*|.*\.position_ids")
"""What files carry beside the weights that pictures are made with."""


def part_header(file: Path) -> Header:
    """The header of a network's file.

    Raises:
        ModelLoadError: if it is no such file, or damaged.
    """
    try:
        return _gguf_header(file, FileMark.of(file)) if file.suffix == GGUF else read_header(file)
    except HeaderError as exc:
        raise ModelLoadError(f"{file.name} {exc}") from None
    except OSError as exc:
        raise ModelLoadError(f"{file.name} cannot be read: {exc.strerror}") from exc


@lru_cache(maxsize=64)
def _gguf_header(file: Path, mark: FileMark) -> Header:
    reader = _gguf_reader(file)
    tensors = {one.name: TensorEntry(one.tensor_type.name, _gguf_shape(reader, one)) for one in reader.tensors}
    if not tensors:
        raise ModelLoadError(f"{file.name} is no GGUF file, or was cut off: it holds no tensors. Get it again")
    return Header(tensors, {})


def _gguf_reader(file: Path) -> Any:
    from models.gguf_reader import BoundedGGUFReader

    try:
        return BoundedGGUFReader(file)
    except OSError:
        raise
    except Exception as exc:  # the reader checks little, so that damaged files end in errors of every kind
        raise ModelLoadError(f"{file.name} is no GGUF file, or was cut off: {cause_text(exc)}. Get it again") from exc


def _gguf_shape(reader: Any, tensor: Any) -> tuple[int, ...]:
    told = reader.get_field(f"{_GGUF_SHAPE}{tensor.name}")
    try:
        shape = tuple(map(int, told.contents() if told else reversed(tensor.shape.tolist())))
    except (TypeError, ValueError):
        shape = ()
    if math.prod(shape) != tensor.n_elements:
        raise ModelLoadError(
            f"the shape that is told of {tensor.name[:100]!r} is not that of its numbers. Get it again"
        )
    return shape


def read_part(file: Path, dtype: "torch.dtype") -> "dict[str, torch.Tensor]":
    """The tensors of a network's file in one number type; scaled float8 and GGUF's blocks are multiplied out.

    Raises:
        ModelLoadError: if the file is damaged, or quantised in a way that is not known here.
    """
    part_header(file)
    tensors = dict(_gguf_tensors(file, dtype) if file.suffix == GGUF else _safetensors(file))
    return {name: tensor.to(dtype) for name, tensor in _multiplied(tensors, file).items()}


def _gguf_tensors(file: Path, dtype: "torch.dtype") -> "Iterator[tuple[str, torch.Tensor]]":
    import torch
    from gguf.quants import dequantize

    reader = _gguf_reader(file)
    for one in reader.tensors:
        try:
            values = dequantize(one.data, one.tensor_type)
        except NotImplementedError as exc:
            kind = one.tensor_type.name
            raise ModelLoadError(f"{file.name} holds {kind} numbers, which are not read here: use Q8_0") from exc
        yield one.name, torch.from_numpy(values.copy()).reshape(_gguf_shape(reader, one)).to(dtype)


def _safetensors(file: Path) -> "Iterator[tuple[str, torch.Tensor]]":
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        for name in opened.keys():  # noqa: SIM118 - it is no mapping
            if not _UNUSED.fullmatch(name):
                yield name, opened.get_tensor(name)


def _multiplied(tensors: "Mapping[str, torch.Tensor]", file: Path) -> "dict[str, torch.Tensor]":
    """The weights, each times its scale; how inputs would be rounded is left out, for they are not."""
    plain = {name: tensor for name, tensor in tensors.items() if not _SCALES.fullmatch(name)}
    for name, tensor in tensors.items():
        found = _SCALES.fullmatch(name)
        if found is None:
            continue
        layer, role = found["layer"], found["role"]
        if role == "comfy_quant":
            _check_format(bytes(tensor.tolist()), file)
        elif role in ("scale_weight", "weight_scale"):
            weight = plain.get(f"{layer}.weight")
            if weight is None or weight.element_size() != 1 or tensor.numel() not in (1, len(weight)):
                raise ModelLoadError(f"{file.name}: {name[:100]} is no scale of float8 weights, as they are read here")
            plain[f"{layer}.weight"] = weight.float() * tensor.float().reshape(-1, *[1] * (weight.ndim - 1))
    return plain


def _check_format(said: bytes, file: Path) -> None:
    try:
        kind = str(json.loads(said)["format"])
    except (ValueError, KeyError, TypeError):
        kind = "nothing that can be read"
    if not kind.startswith("float8_e"):
        raise ModelLoadError(f"{file.name} is quantised as {kind[:40]!r}, which is not read here: use float8 or GGUF")

"""Learned embeddings (textual inversion, arXiv:2208.01618): vectors that stand for a name in prompts."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.error_text import cause_text
from models.errors import ModelLoadError

if TYPE_CHECKING:
    import torch

_MOST_VECTORS = 75
_XL = ("clip_l", "clip_g")


def read_embedding(file: Path, widths: "tuple[int, ...]") -> "tuple[torch.Tensor, ...]":
    """The vectors (n, width) of an embedding, for each text encoder of the model.

    Args:
        file: `.safetensors`, or `.pt` or `.bin` that hold tensors only, as A1111 and diffusers write them.
        widths: of the encoders' tokens.
    Raises:
        ModelLoadError: if it is damaged, holds something else, or is made for another model.
    """
    vectors = _vectors(_read(file), file)
    if tuple(one.shape[1] for one in vectors) != widths:
        made = " and ".join(str(one.shape[1]) for one in vectors)
        needed = " and ".join(map(str, widths))
        raise ModelLoadError(f"embedding {file.name} is for text encoders of width {made}; {needed} is needed here")
    if len(vectors[0]) != len(vectors[-1]) or not 1 <= len(vectors[0]) <= _MOST_VECTORS:
        raise ModelLoadError(
            f"embedding {file.name}: 1 to {_MOST_VECTORS} vectors are needed, as many for each encoder"
        )
    return vectors


def _read(file: Path) -> Mapping[str, Any]:
    import torch
    from safetensors.torch import load_file

    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, "cpu", weights_only=True)
    except Exception as exc:  # both libraries raise many kinds on damaged files; every way out is this one error
        raise ModelLoadError(f"embedding {file.name} cannot be read: {cause_text(exc)}") from exc
    return loaded if isinstance(loaded, dict) else {}


def _vectors(data: Mapping[str, Any], file: Path) -> "tuple[torch.Tensor, ...]":
    import torch

    kept = data.get("string_to_param", data)
    named = {name: one for name, one in kept.items() if isinstance(one, torch.Tensor) and one.is_floating_point()}
    wanted = _XL if set(_XL) <= set(named) else tuple(named)
    if len(wanted) != (2 if wanted == _XL else 1) or len(named) != len(wanted):
        raise ModelLoadError(f"embedding {file.name} holds no single embedding that is known here")
    vectors = tuple(named[name].detach().reshape(-1, named[name].shape[-1]).float() for name in wanted)
    if not all(bool(one.isfinite().all()) for one in vectors):
        raise ModelLoadError(f"embedding {file.name} holds numbers that are not finite. Get it again")
    return vectors

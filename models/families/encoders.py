"""The networks of a checkpoint that are transformers' own: text and image encoders."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers

from models.errors import ModelLoadError
from models.model_files import variants


def load_encoders(
    checkpoint: Path, dtype: torch.dtype, without: Collection[str] = (), variant: str | None = None
) -> dict[str, Any]:
    """The encoders that a folder in the diffusers layout names, by part, with the attention that PyTorch brings.

    transformers takes the implementation of attention that a checkpoint's configuration names, other people's code of
    a hub among them; given in the call, it is ours.

    Args:
        without: parts to leave out.
        variant: of the weights, where a part has it; see `weights_variant`.
    Raises:
        ModelLoadError: if a part's name could lead out of the folder.
    """
    index = json.loads((checkpoint / "model_index.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {}
    for part, value in index.items():
        kind = encoder_class(value)
        if kind is None or part in without:
            continue
        if not part.isidentifier():
            raise ModelLoadError(f"{checkpoint.name}: the part {part[:80]!r} of its model_index.json is no name")
        found[part] = kind.from_pretrained(
            str(checkpoint / part),
            dtype=dtype,
            attn_implementation="sdpa" if kind._supports_sdpa else "eager",
            use_safetensors=True,
            local_files_only=True,
            variant=variant if variant in variants(checkpoint / part) else None,
        )
    return found


def encoder_class(value: object) -> Any:
    """The class that an entry of the index names, if it is a network of transformers."""
    if not (isinstance(value, list) and len(value) == 2 and value[0] == "transformers" and isinstance(value[1], str)):
        return None
    kind = getattr(transformers, value[1], None)
    return kind if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel) else None

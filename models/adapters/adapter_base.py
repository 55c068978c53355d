"""Whether an adapter is made for a model's base, told by headers and configurations before anything is loaded."""

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.adapters.adapter_file import read_layers
from models.adapters.tensor_names import Role
from models.bases import CONTEXT_WIDTHS, Base, base_of_names, base_said
from models.digests import FileMark
from models.errors import ModelLoadError
from models.model_files import read_config
from models.safetensors_header import Header, HeaderError, read_header

if TYPE_CHECKING:
    from models.card import ModelCard

_FAMILY_BASES = {"sd": (Base.SD1, Base.SD2), "sdxl": (Base.SDXL,), "flux": (Base.FLUX,)} | {
    "sd3": (Base.SD3,),
    "qwen_image": (Base.QWEN,),
    "z_image": (Base.Z_IMAGE,),
}
ADAPTED = frozenset(base for bases in _FAMILY_BASES.values() for base in bases)
"""Whose adapters some family takes."""
_CONTEXT = re.compile(r"attn2_to_[kv]$")
_INPUTS = (Role.DOWN, Role.HADA_W1_B, Role.DIFF)
"""Matrices whose second side is what a layer takes."""

_DEPTHS = {3840: Base.Z_IMAGE, 2304: Base.LUMINA2}
_JOINT_WIDTHS = {3072: Base.QWEN, 1536: Base.SD3, 2432: Base.SD3}


def base_problem(card: "ModelCard", file: Path) -> str | None:
    """Why an adapter is for other models than a card's; None if nothing speaks against it, or it is not here."""
    try:
        base, width = _adapter_base(file, FileMark.of(file))
        own_width = _context_width(card)
    except (OSError, ModelLoadError):
        return None
    fitting = _FAMILY_BASES.get(card.family, ())
    if base and fitting and base not in fitting:
        return _other(base, card, CONTEXT_WIDTHS.get(own_width or 0))
    if width and own_width and width != own_width:
        return _other(CONTEXT_WIDTHS.get(width) or f"text states {width} wide", card, CONTEXT_WIDTHS.get(own_width))
    return None


def adapter_base(header: Header) -> tuple[Base | None, int | None]:
    """An adapter's base, if it is known, and the width of the text states that its layers take.

    Raises:
        ModelLoadError: if it is no adapter that is read here.
    """
    layers = read_layers(header.tensors)
    widths = {
        header.width(tensors[role])
        for name, tensors in layers.items()
        for role in _INPUTS
        if role in tensors and _CONTEXT.search(name.flat) and name.part in ("", "unet")
    }
    width = (widths.pop() or None) if len(widths) == 1 else None
    named = base_of_names(header.tensors) or _by_width(header, [*header.tensors])
    return named or CONTEXT_WIDTHS.get(width or 0) or base_said(header.metadata), width


@lru_cache(maxsize=256)
def _adapter_base(file: Path, mark: FileMark) -> tuple[Base | None, int | None]:
    return adapter_base(read_header(file))


def _by_width(header: Header, names: list[str]) -> Base | None:
    """Architectures whose layers have names that others have too."""
    for pattern, known in (
        (r"(^|[._])layers[._]\d+[._]attention[._].*(lora_down|lora_A)", _DEPTHS),
        (r"(^|[._])transformer_blocks[._]\d+[._]attn[._]to_[qkv].*(lora_down|lora_A)", _JOINT_WIDTHS),
    ):
        if found := next((name for name in names if re.search(pattern, name)), None):
            return known.get(header.width(found))
    return None


def _context_width(card: "ModelCard") -> int | None:
    """That of the checkpoint's UNet; None if its files are not here or do not say it."""
    path = card.path
    if path is None:
        return None
    if path.is_file():
        try:
            return read_header(path).context_width or None
        except HeaderError:
            return None
    said = read_config(path, "unet/config.json").get("cross_attention_dim")
    return said if isinstance(said, int) else None


def _other(made_for: str, card: "ModelCard", own: Base | None) -> str:
    family = _FAMILY_BASES.get(card.family, ("another kind",))
    return f"it is made for {made_for}, and model '{card.name}' is {own or ' or '.join(family)}. Use one made for that."

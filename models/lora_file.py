"""What a LoRA file holds, told by its header alone: the layers of a plain LoRA, or another kind of adapter."""

import json
import re
from functools import lru_cache
from pathlib import Path

_DOWN = re.compile(r"(.+?)(\.lora_down|\.lora_A|\.lora\.down|_lora\.down|\.lora_linear_layer\.down)\.weight")
_UP = {"down": "up", "_A": "_B"}
_ALPHA = ".alpha"
_PARTS = re.compile(r"lora_(unet|te|te1|te2)_.+|(unet|text_encoder|text_encoder_2)\..+")
_METADATA = "lora_adapter_metadata"
"""Where diffusers keeps PEFT's configuration."""

_KINDS = (
    (r"\.dora_scale$|lora_magnitude_vector", "a DoRA"),
    (r"\.hada_", "a LoHa"),
    (r"\.lokr_", "a LoKr"),
    (r"\.lora_mid\.", "a LoCon with a middle layer"),
    (r"\.diff(_b)?$", "a full difference of weights"),
    (r"\.on_input$|ia3", "an IA³"),
    (r"\.(a[12]|b[12]|bm)\.weight$", "a GLoRA"),
    (r"\.oft_|\.boft_", "an OFT"),
    (r"\.[wb]_norm$", "a LoRA of normalization layers"),
    (r"\.lora_(up|down|A|B)\.bias$|\.lora\.(up|down)\.bias$", "a LoRA with biases"),
    (r"^(emb_params|bundle_emb)|^(clip_l|clip_g|string_to_param)", "an embedding"),
)
_NOT_PLAIN = frozenset({"use_dora", "use_rslora", "alpha_pattern", "lora_bias"})
"""Settings of PEFT that change what the matrices mean."""
_REFUSED = "it is {0} (it holds {1}), which is not read here: it would paint wrong. Use a plain LoRA."
_LARGEST_HEADER_BYTES = 100_000_000


def up_name(down: str) -> str:
    """The name of the matrix that belongs to one whose name ends in `lora_down.weight` or the like."""
    base, middle = _split(down)
    for old, new in _UP.items():
        middle = middle.replace(old, new)
    return f"{base}{middle}.weight"


def alpha_name(down: str) -> str:
    """The name of a layer's alpha, which divided by its rank scales it."""
    return _split(down)[0] + _ALPHA


def layers(names: frozenset[str] | list[str]) -> list[str]:
    """The names of the first matrix of each layer."""
    return [name for name in names if _DOWN.fullmatch(name)]


def lora_problem(file: Path) -> str | None:
    """Why a LoRA file cannot be painted with as it is meant, with what to do; None if it can, or cannot be read yet."""
    try:
        status = file.stat()
    except OSError:
        return None
    return _problem_of(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _problem_of(file: Path, size: int, mtime_ns: int) -> str | None:
    try:
        header = _header(file)
    except (OSError, ValueError) as exc:
        return f"its file is no .safetensors file, or damaged ({type(exc).__name__}). Get it again."
    return _metadata_problem(header) or names_problem([name for name in header if name != "__metadata__"])


def _header(file: Path) -> dict[str, object]:
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= _LARGEST_HEADER_BYTES:
            raise ValueError("no header")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError("no header")
    return header


def names_problem(names: list[str]) -> str | None:
    """What of the tensors' names is no part of a plain LoRA."""
    for pattern, kind in _KINDS:
        if found := next((name for name in names if re.search(pattern, name)), None):
            return _REFUSED.format(kind, found[:100])
    known = set(names)
    downs = layers(names)
    expected = {*downs, *map(up_name, downs), *map(alpha_name, downs)}
    if odd := next((name for name in names if name not in expected), None):
        return _REFUSED.format("of an unknown kind", odd[:100])
    if half := next((name for name in downs if up_name(name) not in known), None):
        return f"it lacks {up_name(half)[:100]}: the file is not whole. Get it again."
    if foreign := next((name for name in downs if not _PARTS.fullmatch(name)), None):
        return f"it is for another kind of model: it holds {foreign[:100]}. Use one for this model's base."
    return None if downs else "it holds no layers. Get it again."


def _metadata_problem(header: dict[str, object]) -> str | None:
    said = peft_configuration(header.get("__metadata__"))
    for name, value in said.items():
        if value and name.rpartition(".")[2] in _NOT_PLAIN:
            return _REFUSED.format("of a kind of its own", f"the setting {name[:100]}")
    return None


def peft_configuration(metadata: object) -> dict[str, object]:
    """PEFT's configuration in a header's metadata, by names like `unet.lora_alpha`; empty if there is none."""
    try:
        said = json.loads(metadata.get(_METADATA, "{}")) if isinstance(metadata, dict) else {}
    except (TypeError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _split(down: str) -> tuple[str, str]:
    match = _DOWN.fullmatch(down)
    assert match
    return match[1], match[2]

"""The networks of a model that its card names in files of their own: `parts`, `vae`, and a `source` that is a UNet."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch

from foundation.error_text import cause_text
from models.errors import ModelLoadError
from models.families.encoders import encoder_class
from models.families.single_file import single_file_configuration
from models.file_kinds import RUNS, Kind, checkpoint_kind, header_kind, unet_problem
from models.model_files import INDEX, has_weights, index_parts, part_variant
from models.part_file import part_header, read_part

if TYPE_CHECKING:
    from models.card import ModelCard

_UNET_PREFIX = "model.diffusion_model."
_OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_KINDS = {"unet": Kind.DIFFUSION_MODEL, "transformer": Kind.DIFFUSION_MODEL, "vae": Kind.VAE}
_TOLD = {
    "missing_keys": "lacks",
    "mismatched_keys": "has another shape of",
    "unexpected_keys": "has the unknown",
}


@contextmanager
def configuration(card: "ModelCard") -> Iterator[Path]:
    """The folder in the diffusers layout that says what a model's parts are, while this is open."""
    if card.is_single_file:
        with single_file_configuration(card) as folder:
            yield folder
    else:
        assert card.path
        yield card.path


def refuse_unet(folder: Path) -> None:
    """ModelLoadError for a UNet that would be fed wrongly: that of instruct-pix2pix, or the refiner's."""
    unet, vae = (json.loads((folder / part / "config.json").read_text(encoding="utf-8")) for part in ("unet", "vae"))
    pictures = unet.get("in_channels", 4) / vae.get("latent_channels", 4)
    if reason := unet_problem(pictures, unet.get("cross_attention_dim")):
        raise ModelLoadError(f"{folder.name}: {reason}")


def load_parts(card: "ModelCard", folder: Path, dtype: torch.dtype, unused: Collection[str] = ()) -> dict[str, Any]:
    """The networks that are not taken from the model's source, by part.

    Args:
        folder: the model's configuration.
        unused: parts that the family does without.
    Raises:
        ModelLoadError: if a file is damaged, of another base, no such part, or if one is lacking.
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    files = part_files(card)
    named = index_parts(index, unused)
    lacking = [part for part, kind in named.items() if has_weights(kind) and part not in files]
    if lacking and not takes_source(card):
        raise ModelLoadError(f"{_source(card).name} holds the UNet alone: name {_listed(lacking)} in its card")
    if strange := [part for part in files if part not in named]:
        raise ModelLoadError(f"the model has no part {strange[0]}. It has: {', '.join(named)}.")
    return {part: _load(card.family, part, index[part], file, folder, dtype) for part, file in files.items()}


def takes_source(card: "ModelCard") -> bool:
    """Whether a model's source is a whole one, and not its UNet alone."""
    return not card.is_single_file or checkpoint_kind(part_header(_source(card))) is not None


def part_files(card: "ModelCard") -> dict[str, Path]:
    """Where the networks are that are not taken from a model's source."""
    files = {} if takes_source(card) else {"unet": _source(card)}
    return files | {part: card.part_path(part) for part in card.all_parts}


def _source(card: "ModelCard") -> Path:
    assert card.path
    return card.path


def _listed(parts: Collection[str]) -> str:
    return " and ".join(f"`{part}`" if part == "vae" else f"`parts: {part}`" for part in parts)


def _load(family: str, part: str, said: Any, place: Path, folder: Path, dtype: torch.dtype) -> Any:
    if not place.exists():
        raise ModelLoadError(f"part {part}: no file or folder {place}")
    is_encoder = encoder_class(said) is not None
    kind = encoder_class(said) or getattr(diffusers, str(said[1]), None)
    if kind is None or not (is_encoder or place.is_dir() or hasattr(kind, "from_single_file")):
        raise ModelLoadError(f"part {part}: {said[1]} is not taken from a file")
    if place.is_dir():
        options = {"attn_implementation": "sdpa"} if is_encoder else {}
        kept = {"variant": part_variant(place), "use_safetensors": True, "local_files_only": True}
        return kind.from_pretrained(str(place), dtype=dtype, **kept, **options)
    _check_kind(family, part, place)
    weights = read_part(place, dtype)
    try:
        return (_encoder if is_encoder else _network)(kind, weights, folder, part, dtype)
    except Exception as exc:  # both libraries raise many kinds; all of them are this file's
        reason = str(exc) if isinstance(exc, ModelLoadError) else cause_text(exc)
        raise ModelLoadError(f"part {part}: {place.name} does not fit this model's {said[1]}: {reason}") from exc


def _check_kind(family: str, part: str, file: Path) -> None:
    found = header_kind(part_header(file))
    if found.kind is not _KINDS.get(part, Kind.TEXT_ENCODER):
        what = f"{found.kind}, {found.base}" if found.base else found.kind
        raise ModelLoadError(f"part {part}: {file.name} is no {part}, but: {what}")
    if found.base and family in RUNS.values() and RUNS.get(found.base, "sd") != family:
        raise ModelLoadError(f"part {part}: {file.name} is made for {found.base}, but the card says family {family}")


def _network(kind: Any, weights: Mapping[str, torch.Tensor], folder: Path, part: str, dtype: torch.dtype) -> Any:
    named = {_diffusers_name(name, part): tensor for name, tensor in weights.items()}
    network = kind.from_single_file(named, config=str(folder), subfolder=part, dtype=dtype, local_files_only=True)
    state = network.state_dict()
    if lacking := next((name for name, tensor in state.items() if tensor.is_meta), None):
        raise ModelLoadError(f"it lacks {lacking}")
    given, taken = (sum(tensor.numel() for tensor in one.values()) for one in (weights, state))
    if given != taken:
        raise ModelLoadError(f"it holds {given:,} numbers where {taken:,} are known")
    return network


def _diffusers_name(name: str, part: str) -> str:
    """The name that diffusers' loader of single files looks for."""
    if part == "unet" and re.match(r"(input_blocks|middle_block|output_blocks|out|time_embed|label_emb)\.", name):
        return _UNET_PREFIX + name
    if part == "vae" and (old := re.fullmatch(r"(.*attentions\.0\.)(query|key|value|proj_attn)(\..*)", name)):
        return f"{old[1]}{_OLD_VAE_ATTENTION[old[2]]}{old[3]}"
    return name


def _encoder(kind: Any, weights: Mapping[str, torch.Tensor], folder: Path, part: str, dtype: torch.dtype) -> Any:
    config = kind.config_class.from_pretrained(str(folder / part), local_files_only=True)
    names = {name: name.removeprefix("transformer.") for name in weights if name != "logit_scale"}
    state = {new: weights[name] for name, new in names.items()}
    encoder, told = kind.from_pretrained(
        None,
        config=config,
        state_dict=state,
        dtype=dtype,
        attn_implementation="sdpa" if kind._supports_sdpa else "eager",
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    for what, verb in _TOLD.items():
        if wrong := sorted(map(str, told[what])):
            raise ModelLoadError(f"it {verb} {wrong[0][:100]}")
    return encoder

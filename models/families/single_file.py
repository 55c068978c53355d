"""Checkpoints in one .safetensors file, in the layout of the original training code, loaded without a network."""

import copy
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ControlNetModel
from safetensors import safe_open

from foundation.problems import shown
from models.architectures import read_architecture, write_configuration
from models.bases import Base
from models.errors import ModelLoadError
from models.families.modelspec import told_schedule
from models.file_kinds import FIRST_LAYER, RUNS, Kind, header_kind, unet_channels, union_reason
from models.part_file import part_header
from models.safetensors_header import Header

if TYPE_CHECKING:
    from models.card import ModelCard

_CONTROLNET_ENDS = (
    ("control_model.input_blocks.0.0.weight", "control_model.input_hint_block.0.weight"),
    ("input_blocks.0.0.weight", "input_hint_block.0.weight"),
    ("conv_in.weight", "controlnet_cond_embedding.conv_in.weight"),
)
"""First layers for the latents and for the control picture: the original layout, it without prefix, and diffusers'."""


@contextmanager
def single_file_configuration(card: "ModelCard") -> Iterator[Path]:
    """The folder of a single file's configuration, while this is open.

    Raises:
        ModelLoadError: if the file is no such checkpoint, or not one of the card's family.
    """
    if card.config_path:
        _refuse_attention(card.config_path)
        yield card.config_path
        return
    assert card.path
    header = part_header(card.path)
    channels = unet_channels(header)
    _check_kind(card, header, channels)
    schedule = told_schedule(header.tensors, header.metadata)
    with TemporaryDirectory(prefix="imagegenx-") as folder:
        write_configuration(_architecture(card.family, channels, schedule), Path(folder))
        yield Path(folder)


def _refuse_attention(configuration: Path) -> None:
    """The loader of single files takes an encoder's attention from its configuration, and with it code of a hub."""
    for file in sorted(configuration.glob("*/config.json")):
        config = json.loads(file.read_text(encoding="utf-8"))
        for key in ("attn_implementation", "_attn_implementation"):
            if config.get(key) not in (None, "eager", "sdpa"):
                raise ModelLoadError(
                    f"{file.parent.name}/{file.name} asks for the attention {shown(config[key])}: it is chosen here. "
                    f"Remove {key} from the file."
                )


def _check_kind(card: "ModelCard", header: Header, channels: int) -> None:
    kind = header_kind(header)
    if not channels or kind.kind not in (Kind.CHECKPOINT, Kind.DIFFUSION_MODEL):
        told = f"it has no {FIRST_LAYER}" if kind.kind is Kind.UNKNOWN else f"{kind.kind}, {kind.base or 'any base'}"
        name = card.path.name if card.path else card.source
        raise ModelLoadError(f"{name} is no Stable Diffusion checkpoint in one file: {told}")
    family = RUNS.get(kind.base) if kind.base else None
    if kind.kind is Kind.CHECKPOINT and kind.reason and kind.base is not Base.SD2:
        raise ModelLoadError(f"{kind.reason}")
    if family == card.family:
        return
    found = f"a {'UNet' if kind.kind is Kind.DIFFUSION_MODEL else kind.kind} of {family or kind.base}"
    advice = f"Use family: {family}." if family else "Name its configuration in `config`."
    raise ModelLoadError(f"the file holds {found}, but the card says family {card.family}. {advice}")


def _architecture(family: str, channels: int, schedule: Mapping[str, Any]) -> dict[str, Any]:
    """The family's architecture, with what the file says about itself: a UNet for inpainting, another schedule."""
    architecture = copy.deepcopy(read_architecture(family))
    architecture["parts"]["unet"]["config"]["in_channels"] = channels
    architecture["parts"]["scheduler"]["config"] |= schedule
    return architecture


def refuse_union(file: Path, names: Iterable[str]) -> None:
    """ModelLoadError for a ControlNet of several types of control picture, which takes the type as an input.

    Args:
        names: of its tensors, or of what its configuration says.
    """
    if reason := union_reason(names):
        raise ModelLoadError(f"{file.name} {reason}")


def load_controlnet_file(file: Path, unet: Any, dtype: torch.dtype) -> ControlNetModel:
    """A ControlNet in one file, in the original layout or in diffusers', which copies the architecture of its UNet.

    Args:
        unet: of the checkpoint that it leads.
    Raises:
        ModelLoadError: if the file is no ControlNet, or one of another architecture.
    """
    channels = _control_channels(file)
    with torch.device("meta"):
        like = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    with TemporaryDirectory(prefix="imagegenx-") as folder:
        config = {**like.config, "_class_name": ControlNetModel.__name__, **channels}
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        try:
            return ControlNetModel.from_single_file(
                str(file), config=folder, dtype=dtype, local_files_only=True, low_cpu_mem_usage=True
            )
        except NotImplementedError as exc:  # PyTorch's, of weights that the file did not give
            raise ModelLoadError(
                f"{file.name} is no ControlNet for this checkpoint: it lacks some of the weights. One of another "
                "architecture needs a folder in the diffusers layout."
            ) from exc


def _control_channels(file: Path) -> dict[str, int]:
    """The channels of latents and control pictures that a ControlNet takes."""
    with safe_open(str(file), framework="pt") as opened:
        names = frozenset(opened.keys())
        refuse_union(file, sorted(names))
        for latents, picture in _CONTROLNET_ENDS:
            if {latents, picture} <= names:
                counts = (int(opened.get_slice(name).get_shape()[1]) for name in (latents, picture))
                return dict(zip(("in_channels", "conditioning_channels"), counts, strict=True))
    kind = header_kind(part_header(file))
    told = f"it has no {_CONTROLNET_ENDS[0][1]}" if kind.kind is Kind.UNKNOWN else kind.reason or f"but: {kind.kind}"
    raise ModelLoadError(f"{file.name} is no ControlNet in one file: {told}")

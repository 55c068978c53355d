"""What a file of weights is, told by its header alone: its kind, the base it is made for, and whether it works here."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from models.adapters.adapter_base import ADAPTED, adapter_base
from models.adapters.adapter_file import adapter_problem
from models.adapters.tensor_names import is_adapter
from models.bases import CONTEXT_WIDTHS, Base, base_of_names, base_said
from models.errors import ModelLoadError
from models.model_files import INDEX
from models.part_file import GGUF, part_header
from models.safetensors_header import Header, HeaderError, foreign_kind, read_header
from models.upscaling.architectures import architecture_of, architecture_problem
from models.visible_files import is_hidden


class Kind(StrEnum):
    """What weights are for."""

    CHECKPOINT = "checkpoint"
    DIFFUSION_MODEL = "diffusion model alone"
    ADAPTER = "adapter"
    EMBEDDING = "embedding"
    VAE = "VAE"
    CONTROLNET = "ControlNet"
    IP_ADAPTER = "IP-Adapter"
    T2I_ADAPTER = "T2I-adapter"
    UPSCALER = "upscaler"
    TEXT_ENCODER = "text encoder"
    GGUF = "GGUF"
    PIPELINE = "pipeline"
    PICKLE = "pickle"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FileKind:
    """One file's or folder's kind and base.

    Attributes:
        reason: why it does not work here, or "" if it does.
        field: of a card, that names a file which works as a part of a model.
    """

    kind: Kind
    base: Base | None = None
    reason: str = ""
    field: str = ""


FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"
_TRANSFORMERS = (Base.FLUX, Base.SD3)
"""Whose transformers family `diffusers` takes from files of their own."""
_FIRST_LAYERS = (FIRST_LAYER, "input_blocks.0.0.weight", "conv_in.weight")
_PIX2PIX_CHANNELS = 8
_PIX2PIX = "it is an instruct-pix2pix model (8 channels), which is not run here"
_REFINER = "it is the refiner of Stable Diffusion XL, which is not run here: use the base model"
TEXT_ENCODERS = {
    "cond_stage_model.transformer.": Base.SD1,
    "conditioner.embedders.1.": Base.SDXL,
    "cond_stage_model.model.": Base.SD2,
    "conditioner.embedders.0.model.": Base.REFINER,
}
"""By what checkpoints in the original layout are told, the first that is found."""

RUNS = {Base.SD1: "sd", Base.SDXL: "sdxl"}
"""The families that run checkpoints in one file, by base."""

_UNION = ("task_embedding", "control_add_embedding", "num_control_type", "control_type")
_MARKS: tuple[tuple[str, Kind], ...] = (
    (r"^control_model\.|(^|\.)input_hint_block\.|controlnet_(cond_embedding|down_blocks|blocks)\.", Kind.CONTROLNET),
    (r"^(emb_params|clip_l|clip_g)$|^string_to_param", Kind.EMBEDDING),
    (r"^model\.diffusion_model\.|double_blocks\.0|joint_blocks\.0|single_transformer_blocks\.0", Kind.DIFFUSION_MODEL),
    (r"^(transformer_blocks|noise_refiner|context_refiner|down_blocks|input_blocks)\.0", Kind.DIFFUSION_MODEL),
    (r"^blocks\.\d+\.(self|cross)_attn\.", Kind.DIFFUSION_MODEL),
    (r"^(first_stage_model\.)?decoder\.(conv_in|conv1|mid)", Kind.VAE),
    (r"^(text_model\.)?encoder\.layers\.", Kind.TEXT_ENCODER),
)
_FIELDS = {
    Kind.VAE: "vae",
    Kind.TEXT_ENCODER: "parts: text_encoder",
    Kind.EMBEDDING: "embeddings",
}
_NO = "which is not run here"
_NO_CONTROL = f"{_NO}: use a whole ControlNet"
_ARE_NOT = "are not run here: use a ControlNet"
_NO_PART = "which is not taken from a file: use a folder"
_REFUSED: tuple[tuple[re.Pattern[str], Kind, str], ...] = tuple(
    (re.compile(mark, re.MULTILINE), kind, reason)
    for mark, kind, reason in (
        (r"lora_controlnet", Kind.CONTROLNET, f"it is a Control-LoRA, {_NO_CONTROL}"),
        (r"lllite_", Kind.CONTROLNET, f"it is a ControlNet-LLLite, {_NO_CONTROL}"),
        (r"(^|\.)controlnet_(blocks|x_embedder)\.", Kind.CONTROLNET, f"it is a ControlNet of a transformer, {_NO}"),
        # Those with LoRAs in them (FaceID), those of Flux.1, and PuLID are named so, too.
        (r"(^|[._])ip_adapter|^image_proj\.|^pulid_", Kind.IP_ADAPTER, f"IP-Adapters {_ARE_NOT}, or an input picture"),
        (r"^(adapter\.)?body\.\d+\.(block1|in_conv|resnets)\.", Kind.T2I_ADAPTER, f"T2I-adapters {_ARE_NOT}"),
        (r"^style_embedding$", Kind.T2I_ADAPTER, f"T2I-adapters {_ARE_NOT}"),
        (r"^t5xxl$", Kind.EMBEDDING, f"it is an embedding for T5, {_NO}"),
        (r"^(text_model\.)?encoder\.block\.", Kind.TEXT_ENCODER, f"it is a T5 encoder, {_NO_PART}"),
        (r"^(model\.)?layers\.0\.self_attn", Kind.TEXT_ENCODER, f"it is a language model, {_NO_PART}"),
        (r"^transformer\.resblocks", Kind.TEXT_ENCODER, f"it is a CLIP encoder in the layout of OpenCLIP, {_NO_PART}"),
        (r"^vision_model\.", Kind.TEXT_ENCODER, f"it is a CLIP encoder of pictures, {_NO}"),
        (
            r"^(en|de)coder\.layers\.\d+\.(weight|bias|conv)",
            Kind.VAE,
            "it is a tiny VAE (TAESD): name a folder of it in the diffusers layout as preview_vae",
        ),
        (r"(^|\.)motion_modules\.", Kind.DIFFUSION_MODEL, f"it is a motion module, {_NO}"),
    )
)
"""What is told by its names and not run."""
_NOT_ALONE = f"it holds the UNet or transformer of {{}} alone, {_NO_PART}"


def file_kind(file: Path) -> FileKind:
    """The kind of a file of weights; never raises for what is in it."""
    if file.suffix.lower() == ".safetensors":
        try:
            return header_kind(read_header(file), adapter_problem=lambda: adapter_problem(file))
        except HeaderError as exc:
            return FileKind(Kind.UNKNOWN, reason=str(exc))
        except OSError as exc:
            return FileKind(Kind.UNKNOWN, reason=f"cannot be read: {exc.strerror}")
    return _foreign_file(file)


def header_kind(header: Header, adapter_problem: Callable[[], str | None] = lambda: None) -> FileKind:
    """The kind of a file with this header.

    Args:
        adapter_problem: says why an adapter's file cannot be used.
    """
    names = header.tensors
    text = "\n".join(names)
    if refused := next((FileKind(kind, None, why) for mark, kind, why in _REFUSED if mark.search(text)), None):
        return refused
    if is_adapter(names):
        return _adapter(header, adapter_problem())
    if kind := checkpoint_kind(header):
        return kind
    if architecture := architecture_of(names):
        return FileKind(Kind.UPSCALER, reason=architecture_problem(architecture))
    found = next((kind for mark, kind in _MARKS if re.search(mark, text, re.MULTILINE)), Kind.UNKNOWN)
    base = base_of_names(names) or CONTEXT_WIDTHS.get(header.context_width) or base_said(header.metadata)
    if found is Kind.CONTROLNET:
        return FileKind(found, base, union_reason(names) or _controlnet_reason(base), "controlnet")
    if found is Kind.DIFFUSION_MODEL and base in (*RUNS, Base.SD2):
        return FileKind(found, base, _channels_reason(header), "parts: unet")
    if found is Kind.VAE and any(len(entry.shape) == 5 for entry in names.values()):
        return FileKind(found, base, "it is a VAE of moving pictures (Wan, Qwen-Image): use a folder")
    if found is Kind.EMBEDDING:
        base = Base.SDXL if "clip_g" in names else CONTEXT_WIDTHS.get(header.width("emb_params"))
    if found is Kind.DIFFUSION_MODEL and base in _TRANSFORMERS:
        return FileKind(found, base, "", "parts: transformer")
    if found is Kind.DIFFUSION_MODEL:
        return FileKind(found, base, _NOT_ALONE.format(base or "this kind"))
    reason = "its tensors are of no kind that is known here" if found is Kind.UNKNOWN else ""
    return FileKind(found, base, reason, _FIELDS.get(found, ""))


def unet_problem(pictures: float, context_width: object) -> str:
    """Why a UNet is not run, by what its configuration says; "" if it is.

    Args:
        pictures: how many pictures' latents it takes; instruct-pix2pix takes the input picture's beside its own.
    """
    if pictures == 2:
        return _PIX2PIX
    return _REFINER if isinstance(context_width, int) and CONTEXT_WIDTHS.get(context_width) is Base.REFINER else ""


def unet_channels(header: Header) -> int:
    """The channels that a UNet takes, whichever way its layers are named; 0 if there is none."""
    return next((header.shape(name)[1] for name in _FIRST_LAYERS if len(header.shape(name)) == 4), 0)


def _channels_reason(header: Header) -> str:
    channels = unet_channels(header)
    if channels in (0, 4, 9):
        return ""
    taken = f"its UNet takes {channels} channels, and not 4, or 9 for inpainting: it is not run here"
    return _PIX2PIX if channels == _PIX2PIX_CHANNELS else taken


def checkpoint_kind(header: Header) -> FileKind | None:
    """That of a whole checkpoint in the original layout; None if it is none."""
    names = header.tensors
    base = next((base for mark, base in TEXT_ENCODERS.items() if any(name.startswith(mark) for name in names)), None)
    if not any(name.startswith("model.diffusion_model.") for name in names):
        return None
    if base is None and any(name.startswith("text_encoders.") for name in names):
        base = base_of_names(names)
        return FileKind(Kind.CHECKPOINT, base, f"{base or 'its base'} is not run from one file: use a folder")
    if base is None:
        return None
    if base is Base.REFINER:
        return FileKind(Kind.CHECKPOINT, base, _REFINER)
    if reason := _channels_reason(header):
        return FileKind(Kind.CHECKPOINT, base, reason)
    if base is Base.SD2:
        return FileKind(Kind.CHECKPOINT, base, "it has several noise schedules: its card must name one in `config`")
    return FileKind(Kind.CHECKPOINT, base, "" if base in RUNS else f"{base} is not run from one file")


def union_reason(names: Iterable[str]) -> str:
    """Why a ControlNet of several types of control picture is refused; "" if it is none.

    Args:
        names: of its tensors, or of what its configuration says.
    """
    found = next((name for name in names if name.removeprefix("control_model.").startswith(_UNION)), None)
    if found is None:
        return ""
    return (
        f"is a Union ControlNet (it holds {found[:60]}): it would have to be told the type of the control picture, "
        "which is not done here. Use a ControlNet of one type."
    )


def _adapter(header: Header, problem: str | None) -> FileKind:
    try:
        base, _ = adapter_base(header)
    except ModelLoadError as exc:
        return FileKind(Kind.ADAPTER, base_said(header.metadata), problem or str(exc))
    runs = base is None or base in ADAPTED
    return FileKind(Kind.ADAPTER, base, problem or ("" if runs else f"adapters of {base} are not used here"), "loras")


def _controlnet_reason(base: Base | None) -> str:
    return "" if base is None or base in (*RUNS, Base.SD2) else f"ControlNets of {base} are not run here"


def _foreign_file(file: Path) -> FileKind:
    """One of another format: told by its first bytes, for what is in a pickle is not looked at."""
    try:
        with file.open("rb") as opened:
            what = foreign_kind(opened.read(64))
    except OSError as exc:
        return FileKind(Kind.UNKNOWN, reason=f"cannot be read: {exc.strerror}")
    if what.startswith("a GGUF"):
        return _gguf(file)
    if "pickle" in what:
        return FileKind(Kind.PICKLE, reason=f"is {what}")
    return FileKind(Kind.UNKNOWN, reason=f"is {what}" if what else "is of no format that is known here")


def _gguf(file: Path) -> FileKind:
    if file.suffix != GGUF:
        return FileKind(Kind.GGUF, reason=f"is a GGUF file: rename it to {file.stem}{GGUF}")
    try:
        found = header_kind(part_header(file))
    except ModelLoadError as exc:
        return FileKind(Kind.GGUF, reason=str(exc))
    reason = found.reason or ("" if found.field else f"{found.kind} in GGUF files is not read here")
    return FileKind(Kind.GGUF, found.base, reason, found.field)


_ENDINGS = frozenset({".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin"})


def weight_files(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """The files of weights in a folder and those below it, and the folders in the diffusers layout, in order.

    Args:
        above: the folders that led here, so that links in a circle are followed once.
    Raises:
        OSError: if a folder cannot be read.
    """
    if (folder / INDEX).is_file():
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if path.is_dir() and (real := path.resolve()) not in above:
            yield from weight_files(path, above | {real})
        elif path.suffix.lower() in _ENDINGS:
            yield path

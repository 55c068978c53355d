"""Model cards for weights that were found in a folder, with the defaults that suit them."""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.bases import Base
from models.errors import ModelLoadError
from models.families.modelspec import is_few_step, told_schedule
from models.file_kinds import FIRST_LAYER, RUNS, FileKind, Kind
from models.model_files import INDEX, read_config
from models.safetensors_header import Header, read_header

_SIZES: Mapping[Base, str] = {Base.SD1: "512×512", Base.SDXL: "1024×1024"}
_MAX_SIDES_PX: Mapping[Base, int] = {Base.SD1: 1024, Base.SDXL: 2048}
_DEFAULTS: Mapping[Base, Mapping[str, Any]] = {
    Base.SD1: {"steps": 25, "cfg_scale": 7.0, "sampler": "DPM++ 2M"},
    Base.SDXL: {"steps": 30, "cfg_scale": 6.0, "sampler": "DPM++ 2M"},
}
_FEW_STEPS = {"steps": 6, "cfg_scale": 1.5, "sampler": "Euler"}
"""For distilled models: guidance of 1 to 2, steps from pure noise on."""

_FAMILIES = {"StableDiffusionPipeline": Base.SD1, "StableDiffusionXLPipeline": Base.SDXL}


def pipeline_kind(folder: Path) -> FileKind:
    """The kind of a folder in the diffusers layout, by the pipeline that its index names."""
    if (said := read_config(folder, INDEX).get("_class_name")) is None:
        return FileKind(Kind.PIPELINE, reason=f"its {INDEX} cannot be read. Get it again")
    base = _FAMILIES.get(said)
    if base is None and ("Img2Img" in str(said) or "Inpaint" in str(said) or "InstructPix2Pix" in str(said)):
        return FileKind(Kind.PIPELINE, reason=f"{str(said)[:60]} is not run here")
    return FileKind(Kind.PIPELINE, base)


def written_cards(found: Mapping[Path, FileKind], folder: Path) -> dict[Path, Path]:
    """Write a card for each checkpoint that works, with the adapters of its base; its file by what it is for.

    A card that is there already stays as it is, and is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for path, kind in found.items():
        if kind.reason or kind.kind not in (Kind.CHECKPOINT, Kind.PIPELINE):
            continue
        card = folder / f"{_name(path)}.yaml"
        if not card.exists():
            text = yaml.safe_dump(_card(path, kind, _loras(found, kind.base)), allow_unicode=True, sort_keys=False)
            card.write_text(text, encoding="utf-8")
            written[path] = card
    return written


def _card(path: Path, kind: FileKind, loras: Mapping[str, str]) -> dict[str, Any]:
    source = {"source": str(path.absolute())}
    if kind.base is None:
        return {"family": "diffusers", **source}
    header = None if path.is_dir() else read_header(path)
    few = _is_few_step(path, header)
    card: dict[str, Any] = {"family": RUNS[kind.base], **source, "modes": ["text2img", "img2img", "inpaint"]}
    card |= {"default_resolution": _SIZES[kind.base], "max_side_px": _MAX_SIDES_PX[kind.base]}
    if header and header.shape(FIRST_LAYER)[1:2] == (9,):
        card["modes"] = ["inpaint"]
    if few:
        card["schedule"] = "trailing"
    card["defaults"] = dict(_FEW_STEPS if few else _DEFAULTS[kind.base])
    return card | ({"loras": dict(loras)} if loras else {})


def _is_few_step(path: Path, header: Header | None) -> bool:
    return is_few_step({"modelspec.title": path.stem}) or bool(header and is_few_step(header.metadata))


def told_problem(path: Path) -> str:
    """What a checkpoint's header asks for that is not done here; "" if there is nothing."""
    header = read_header(path)
    try:
        told_schedule(header.tensors, header.metadata)
    except ModelLoadError as exc:
        return str(exc)
    return ""


def _loras(found: Mapping[Path, FileKind], base: Base | None) -> dict[str, str]:
    return {
        _name(path): str(path.absolute())
        for path, kind in found.items()
        if kind.kind is Kind.ADAPTER and not kind.reason and base and kind.base is base
    }


def _name(path: Path) -> str:
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", stem)).strip("._") or "model"

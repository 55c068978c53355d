"""The published architectures of checkpoints that do not describe themselves, and CLIP's vocabulary."""

import gzip
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from configs.settings import PACKAGE_ROOT

ARCHITECTURES = PACKAGE_ROOT / "configs" / "architectures"
"""One YAML file per family."""


@cache
def read_architecture(family: str) -> dict[str, Any]:
    """The pipeline and the parts of a family's original model; the caller must not change it."""
    data: dict[str, Any] = yaml.safe_load((ARCHITECTURES / f"{family}.yaml").read_text(encoding="utf-8"))
    return data


def write_configuration(architecture: Mapping[str, Any], folder: Path) -> None:
    """Write an architecture to `folder` in the diffusers layout: every part's configuration, and no weights."""
    index = {"_class_name": architecture["pipeline"], **architecture.get("options", {})}
    for name, part in architecture["parts"].items():
        index[name] = part["class"].split(".")
        (folder / name).mkdir(parents=True)
        if "Tokenizer" in part["class"]:
            _write_tokenizer(folder / name, part["config"])
        else:
            file = "scheduler_config.json" if name == "scheduler" else "config.json"
            _write_json(folder / name / file, {"_class_name": index[name][1], **part["config"]})
    _write_json(folder / "model_index.json", index)


def clip_merges() -> list[str]:
    """The byte pairs that CLIP's tokenizer joins, in order."""
    return gzip.decompress((ARCHITECTURES / "clip_merges.txt.gz").read_bytes()).decode("utf-8").splitlines()


def clip_vocabulary(merges: list[str]) -> dict[str, int]:
    """CLIP's tokens with their ids: a character per byte, alone and ending a word, the joined ones, and two marks."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = len(set(range(256)) - set(printable))
    letters = [chr(byte) for byte in printable] + [chr(256 + place) for place in range(others)]
    joined = [merge.replace(" ", "") for merge in merges]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *joined, "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def _write_tokenizer(folder: Path, config: Mapping[str, Any]) -> None:
    merges = clip_merges()
    _write_json(folder / "vocab.json", clip_vocabulary(merges))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", **config})


def _write_json(file: Path, data: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

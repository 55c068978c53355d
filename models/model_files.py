"""Which files of a model decide its pixels."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.digests import FileMark
from models.visible_files import visible_files

INDEX = "model_index.json"
"""The file of a pipeline's folder that names its parts, each a folder in it."""

_DECIDING = frozenset({".safetensors", ".json", ".model", ".jinja"})
"""Weights, configurations, SentencePiece vocabularies and templates of prompts."""

_VOCABULARIES = frozenset({"merges.txt", "vocab.txt", "dict.txt"})
"""The only texts that tokenizers read: any other is for people."""


def deciding_files(path: Path, unused_parts: Collection[str] = ()) -> Iterator[Path]:
    """The files that a model is loaded from, in a folder or of a single file; none if there is nothing.

    Licences, notes, hidden files and parts that a pipeline's index does not name decide nothing.

    Args:
        unused_parts: of a pipeline, those that its family never loads.
    """
    if path.is_file():
        yield path
        return
    parts = _local_parts(path, unused_parts)
    for file in visible_files(path, deep=True):
        place = file.relative_to(path).parts
        is_loaded = parts is None or place == (INDEX,) or place[0] in parts
        if is_loaded and (file.suffix in _DECIDING or file.name in _VOCABULARIES):
            yield file


_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(\w+))?(?:-\d{5}-of-\d{5})?\.safetensors")


def variant_of(name: str) -> str | None:
    """The variant that a file of a part's weights is of: `fp16` for `model.fp16.safetensors`, "" for the plain ones.

    None if it holds no weights, or has been given another name.
    """
    found = _WEIGHTS.fullmatch(name)
    return (found[1] or "") if found else None


def variants(part: Path) -> frozenset[str]:
    """The variants of a part's weights in its folder."""
    found = (variant_of(file.name) for file in (part.iterdir() if part.is_dir() else ()))
    return frozenset(variant for variant in found if variant is not None)


def part_variant(part: Path) -> str | None:
    """The variant that a part is loaded in from its own folder: None for plain weights."""
    found = variants(part)
    return None if "" in found else min(found, default=None)


def weights_variant(folder: Path) -> str | None:
    """The variant that a folder in the diffusers layout is loaded in: None where no part lacks plain weights."""
    parts = [variants(part) for part in folder.iterdir() if part.is_dir()]
    lacking = [kinds for kinds in parts if kinds and "" not in kinds]
    return min(frozenset.intersection(*lacking), default=None) if lacking else None


def index_parts(index: Mapping[str, Any], unused: Iterable[str]) -> dict[str, str]:
    """The parts that a pipeline's index names, with their classes."""
    return {
        name: str(value[1])
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] and name not in unused and name.isidentifier()
    }


def has_weights(kind: str) -> bool:
    """Whether a part of this class is a network."""
    return not any(mark in kind for mark in ("Tokenizer", "Scheduler", "Processor", "Extractor"))


def _local_parts(folder: Path, unused: Collection[str]) -> Collection[str] | None:
    """None for a folder that is a single network, or whose index cannot be read: all of it counts."""
    index = read_config(folder, INDEX)
    return index_parts(index, unused) if index else None


def read_config(path: Path | None, name: str) -> Mapping[str, Any]:
    """A JSON file of a folder; empty if it is not here or says nothing."""
    if path is None or not path.is_dir():
        return {}
    try:
        return _read_file(path / name, FileMark.of(path / name))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=256)
def _read_file(file: Path, mark: FileMark) -> Mapping[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}

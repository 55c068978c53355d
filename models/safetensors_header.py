"""The header of a .safetensors file: names, number types and shapes of its tensors, without reading any."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.digests import FileMark
from models.errors import ModelLoadError

_LARGEST_HEADER_BYTES = 100_000_000
_STARTS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself: `git lfs pull` brings it"),
    (
        b"<!doctype",
        "a web page: the download gave the site's page and not the file. Get it again, signed in if need be",
    ),
    (b"<html", "a web page: the download gave the site's page and not the file. Get it again, signed in if need be"),
    (b"gguf", "a GGUF file"),
    (b"pk\x03\x04", "a pickle in a ZIP archive, which could run any code: get it as .safetensors"),
    (b"\x80\x02", "a pickle, which could run any code: get it as .safetensors"),
    (b"\x80\x04", "a pickle, which could run any code: get it as .safetensors"),
    (b'{"', "a text in JSON, perhaps a site's error message. Get it again"),
)
"""How files begin that are taken for .safetensors files, in small letters."""


class HeaderError(ModelLoadError):
    """A file has no header of the format; the text says what it is instead."""


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's number type, by the format's name for it (`F16`), and its shape."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors and of itself (https://github.com/huggingface/safetensors#format)."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, or () if there is none of that name."""
        return self.tensors[name].shape if name in self.tensors else ()

    def width(self, name: str) -> int:
        """The second side of a tensor, which is what a layer takes; 0 if it has none."""
        return (*self.shape(name), 0, 0)[1]

    @property
    def context_width(self) -> int:
        """The width of the text states that a UNet attends to, by diffusers' names or the original ones; 0 if none."""
        return self.width(next((name for name in self.tensors if name.endswith("attn2.to_k.weight")), ""))


def read_header(file: Path) -> Header:
    """The header of a file, read once for each version of it.

    Raises:
        HeaderError: if it is no whole .safetensors file; the text says what it is, as a predicate.
        OSError: if it cannot be read.
    """
    return _read(file, FileMark.of(file))


@lru_cache(maxsize=64)
def _read(file: Path, mark: FileMark) -> Header:
    with file.open("rb") as opened:
        start = opened.read(64)
        length = int.from_bytes(start[:8], "little")
        if what := foreign_kind(start):
            raise HeaderError(f"is {what}")
        if not 2 <= length <= _LARGEST_HEADER_BYTES:
            raise HeaderError("is no .safetensors file, or damaged: it has no header. Get it again")
        opened.seek(8)
        said = opened.read(length)
    if len(said) < length:
        raise HeaderError(f"was cut off within its header, after {mark.size_bytes:,} bytes. Get it again")
    try:
        header = json.loads(said)
        entries = {name: (entry["dtype"], entry["shape"], entry["data_offsets"]) for name, entry in _tensors(header)}
        end = max((int(offsets[1]) for _, _, offsets in entries.values()), default=0)
        tensors = {name: TensorEntry(str(dtype), tuple(map(int, shape))) for name, (dtype, shape, _) in entries.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as exc:
        raise HeaderError("is no .safetensors file, or damaged: its header makes no sense. Get it again") from exc
    if mark.size_bytes < 8 + length + end:
        raise HeaderError(f"was cut off: it has {mark.size_bytes:,} of {8 + length + end:,} bytes. Get it again")
    metadata = header.get("__metadata__") or {}
    return Header(tensors, {str(name): str(value) for name, value in metadata.items()})


def foreign_kind(start: bytes) -> str:
    """What a file is that begins so, if it is not of this format; "" if nothing speaks against it."""
    if not start:
        return "empty. Get it again"
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _LARGEST_HEADER_BYTES:
        return ""  # whatever the length of its header looks like
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((what for mark, what in _STARTS if text.startswith(mark)), "")


def _tensors(header: Any) -> list[tuple[str, Any]]:
    if not isinstance(header, dict):
        raise ValueError("no object")
    return [(name, entry) for name, entry in header.items() if name != "__metadata__"]

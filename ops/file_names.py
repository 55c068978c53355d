"""File names made of row ids, which may be any short text: safe on every system, and no two alike."""

import hashlib
import re
from collections.abc import Iterable, Mapping

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MAX_BYTES = 180


def file_stem(row_id: str) -> str:
    """The name for a row's file, without an ending; one that had to be changed carries a digest of the id."""
    stem = _UNSAFE.sub("_", row_id).strip(" .")
    stem = stem.encode()[:_MAX_BYTES].decode(errors="ignore")
    if stem == row_id and stem and not _DEVICES.fullmatch(stem):
        return stem
    return f"{stem or 'row'}-{hashlib.sha256(row_id.encode('utf-8', 'replace')).hexdigest()[:8]}"


def file_stems(row_ids: Iterable[str]) -> Mapping[str, str]:
    """The name for each of these rows; of those that differ in their case alone, the later ones carry a digest."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for row_id in row_ids:
        stem = file_stem(row_id)
        if stem.casefold() in taken:
            stem = f"{stem}-{hashlib.sha256(row_id.encode()).hexdigest()[:8]}"
        taken.add(stem.casefold())
        names[row_id] = stem
    return names

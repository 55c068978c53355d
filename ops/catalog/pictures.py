"""The input pictures that catalog rows name: files under the catalog's folder, or object keys."""

import hashlib
import unicodedata
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath

from ops.catalog.inside import LeadsOutError, open_inside

MAX_KEY_BYTES = 900


@dataclass(frozen=True)
class CatalogPicture:
    """A picture file a catalog names: the reference as written, where it is, and the sha256 of its content.

    `place` is the file's path below `folder`, the catalog's.
    """

    reference: str
    folder: Path
    place: str
    digest: str

    @property
    def file(self) -> Path:
        """The file's path."""
        return self.folder / self.place

    def open(self) -> BufferedReader:
        """Open the file. Raises OSError, or LeadsOutError if a link has taken its place."""
        return open_inside(self.folder, self.place)


def picture_file(folder: Path, catalog: str, reference: str) -> Path | None:
    """The file that a row of `catalog` in `folder` names, or None if there is none and it is an object key.

    Looked for in `<catalog>.pictures/`, where `register_catalog` puts copies, then in the folder itself.

    Raises:
        ValueError: if the reference could lead out of the folder; the message is the broken rule.
    """
    rule = _reference_rule(reference)
    if rule:
        raise ValueError(rule)
    for place in (f"{catalog}.pictures/{reference}", reference):
        file = folder / place
        if file.is_file():
            if not file.resolve().is_relative_to(folder.resolve()):
                raise LeadsOutError(f"{reference[:80]!r} is a link that leads out of the catalog's folder")
            return file
    return None


def read_picture(folder: Path, catalog: str, reference: str) -> CatalogPicture | None:
    """The file a row names, with its digest; None if it is an object key. ValueError as in `picture_file`, or if
    the file cannot be read."""
    try:
        file = picture_file(folder, catalog, reference)
        if file is None:
            return None
        place = file.relative_to(folder).as_posix()
        with open_inside(folder, place) as content:
            return CatalogPicture(reference, folder, place, hashlib.file_digest(content, "sha256").hexdigest())
    except OSError as exc:
        raise ValueError(f"{reference[:80]!r} cannot be read: {exc.strerror}") from exc


def _reference_rule(reference: str) -> str | None:
    shown = f"{reference[:80]!r}"
    if "://" in reference:
        return f"{shown} is a URL; name an object key or a file in the catalog's folder"
    if reference.startswith("/") or "\\" in reference or reference[1:2] == ":":
        return f"{shown} must be relative to the catalog's folder, with '/' between folders"
    if any(part in ("", ".", "..") for part in reference.split("/")) or ".." in PurePosixPath(reference).parts:
        return f"{shown} must not contain '.', '..' or empty parts: it stays in the catalog's folder"
    if any(unicodedata.category(letter).startswith("C") for letter in reference):
        return f"{shown} contains control characters"
    if len(reference.encode()) > MAX_KEY_BYTES:
        return f"{len(reference.encode()):,} bytes are above the maximum of {MAX_KEY_BYTES}"
    return None

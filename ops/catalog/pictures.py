"""The files that a catalog names, input pictures and tables: beside it in a folder, or kept with it in the store."""

import hashlib
import io
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from ops.catalog.inside import open_inside
from resources.object_store import ObjectStore

INPUTS = "inputs/"
"""Where catalogs, and the files that they name, are kept in the store, by prefix; the sha256 of the content follows."""
MAX_KEY_BYTES = 900


@dataclass(frozen=True)
class CatalogPicture:
    """A file a catalog names: the reference as written, and the sha256 of its content.

    Attributes:
        open: opens the file. Raises OSError, LeadsOutError if a link has taken its place, or StoreError.
    """

    reference: str
    digest: str
    open: Callable[[], BinaryIO] = field(compare=False, repr=False)

    def read(self) -> bytes:
        """The content. Raises what `open` does."""
        with self.open() as content:
            return content.read()


class CatalogFiles(Protocol):
    """Where the files are that one catalog names."""

    def find(self, reference: str) -> CatalogPicture | None:
        """The file of this reference; None if there is none and it is an object key.

        Raises:
            ValueError: if the reference could lead out of the folder, or the file cannot be read; the message is the
                broken rule.
        """
        ...


@dataclass(frozen=True)
class FolderFiles:
    """Files in the folder of a catalog.

    Looked for in `<catalog>.pictures/`, then in the folder itself.
    """

    folder: Path
    catalog: str

    def find(self, reference: str) -> CatalogPicture | None:
        """See `CatalogFiles.find`."""
        if rule := _reference_rule(reference):
            raise ValueError(rule)
        try:
            place = self._place(reference)
            if place is None:
                return None
            with open_inside(self.folder, place) as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as exc:
            raise ValueError(f"{reference[:80]!r} cannot be read: {exc.strerror}") from exc
        return CatalogPicture(reference, digest, partial(open_inside, self.folder, place))

    def _place(self, reference: str) -> str | None:
        for place in (f"{self.catalog}.pictures/{reference}", reference):
            if (self.folder / place).is_file():
                return place
        return None


@dataclass(frozen=True)
class StoredFiles:
    """Files kept in the store for a registered catalog: sha256 by reference."""

    store: ObjectStore
    digests: Mapping[str, str]

    def find(self, reference: str) -> CatalogPicture | None:
        """See `CatalogFiles.find`; nothing is read."""
        if rule := _reference_rule(reference):
            raise ValueError(rule)
        if digest := self.digests.get(reference):
            return CatalogPicture(reference, digest, lambda: io.BytesIO(self.store.get(INPUTS + digest)))
        return None


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

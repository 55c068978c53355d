"""Where catalogs come from: a watched folder, or a watched key prefix of the object store."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ops.catalog.reading import MAX_BYTES
from resources.object_store import ObjectStore

_MARK_LETTERS = 32
"""Of a digest in hex; sensors remember a mark for each file."""


class CatalogSource(Protocol):
    """Files named like catalogs.

    `is_atomic`: a file that is seen is whole. Elsewhere it may still be being written.
    """

    @property
    def is_atomic(self) -> bool: ...

    def marks(self) -> Iterator[tuple[str, str]]:
        """(file name, mark) of each catalog; the mark changes when the content, or a picture it names, does."""
        ...

    def fetch(self, file_name: str, folder: Path) -> Path:
        """The file, with the pictures it names beside it; `folder` is there for copies."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """The catalog files of a folder; hidden ones and other folders are not looked at.

    Args:
        registered: the folder of registered catalogs, which knows the pictures that each named when it was taken.
    """

    folder: Path
    registered: Path
    is_atomic: bool = False

    def marks(self) -> Iterator[tuple[str, str]]:
        """See `CatalogSource.marks`: the digest of the content, and size and time of change of the pictures."""
        for file in _catalog_files(self.folder):
            try:
                yield file.name, self._mark(file)
            except FileNotFoundError:
                continue  # gone since the folder was read

    def fetch(self, file_name: str, folder: Path) -> Path:
        """See `CatalogSource.fetch`."""
        return self.folder / file_name

    def _mark(self, file: Path) -> str:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256")
        pictures = self.registered / f"{file.stem}.pictures"
        for picture in sorted(pictures.rglob("*")) if pictures.is_dir() else []:
            original = self.folder / picture.relative_to(pictures)
            if original.is_file():
                stat = original.stat()
                digest.update(f"\n{original}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
        return digest.hexdigest()[:_MARK_LETTERS]


@dataclass(frozen=True)
class BucketSource:
    """The catalog files directly below a key prefix. Their rows name pictures by whole keys."""

    store: ObjectStore
    prefix: str
    is_atomic: bool = True

    def marks(self) -> Iterator[tuple[str, str]]:
        """See `CatalogSource.marks`: the objects' etags."""
        for found in self.store.list(self.prefix):
            name = found.key[len(self.prefix) :]
            if "/" not in name and _is_catalog(name):
                yield name, f"etag:{found.etag}"

    def fetch(self, file_name: str, folder: Path) -> Path:
        """See `CatalogSource.fetch`."""
        file = folder / file_name
        file.write_bytes(self.store.get(f"{self.prefix}{file_name}"))
        return file


def _catalog_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(file for file in folder.iterdir() if _is_catalog(file.name) and file.is_file())


def _is_catalog(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in MAX_BYTES

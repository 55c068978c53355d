"""Weights kept in the object store, beside the pictures or in a bucket of their own: `store:…` and `s3://…`.

They are named with a sha256, as hub ids are with a commit: that of the file, or of a folder's `SHA256SUMS`, which
`sha256sum` writes. So the same card means the same pixels on every machine, and one that only plans needs no weights.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from foundation.errors import ImageGenXError
from models.errors import ModelLoadError
from models.remote_files import RemoteFile, stays_inside

SUMS = "SHA256SUMS"
SCHEMES = ("store:", "s3://")
SHA256 = re.compile(r"[0-9a-f]{64}")
_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")
_MAX_SUMS_BYTES = 1 << 20


class WeightStore(Protocol):
    """Objects by key. Methods raise ImageGenXError if the store cannot be used."""

    def size_bytes(self, key: str) -> int | None:
        """The size of an object; None if there is none."""
        ...

    def read(self, key: str, start: int) -> Iterator[bytes]:
        """Its bytes from `start` on, in chunks."""
        ...


OpenPlace = Callable[[str], tuple[WeightStore, str]]
"""Gives the store of a place such as `s3://weights/sd15`, and its key there."""


def is_place(text: str) -> bool:
    """Whether this names a place in a store."""
    return text.startswith(SCHEMES)


def place_name(place: str) -> str:
    """The name of the file at a place."""
    return place.replace(":", "/").rpartition("/")[2]


def pin_of(given: str) -> str:
    """The sha256 with which a card names a file in a store (`store:…#sha256`); "" for a file of this machine."""
    return given.partition("#")[2] if is_place(given) else ""


@dataclass(frozen=True)
class StoreRepository:
    """See `Repository`.

    Args:
        sha256: of the one file, or of the `SHA256SUMS` of the folder.
    """

    store: WeightStore
    key: str
    source: str
    sha256: str
    outages: tuple[type[Exception], ...] = (ImageGenXError,)

    @property
    def is_file(self) -> bool:
        """It is a single file, rather than a folder."""
        return self.key.endswith(".safetensors")

    def files(self) -> dict[str, RemoteFile]:
        """See `Repository.files`. Raises ModelLoadError if they are not those of the sha256."""
        if self.is_file:
            name = PurePosixPath(self.key).name
            return {name: RemoteFile(name, self._size_bytes(self.key), self.sha256)}
        is_long = self._size_bytes(self._key(SUMS)) > _MAX_SUMS_BYTES
        sums = b"" if is_long else b"".join(self.store.read(self._key(SUMS), 0))
        if hashlib.sha256(sums).hexdigest() != self.sha256:
            told = f"its {SUMS} is not the one of the revision {self.sha256[:12]}…"
            raise ModelLoadError(f"{self.source}: {told}. {_ADVICE}")
        lines = (_LINE.fullmatch(line.rstrip("\r")) for line in sums.decode("utf-8", "replace").split("\n"))
        named = {line[2]: line[1] for line in lines if line and stays_inside(line[2])}
        return {path: RemoteFile(path, self._size_bytes(self._key(path)), digest) for path, digest in named.items()}

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See `Repository.read`."""
        yield start, self.store.read(self.key if self.is_file else self._key(file.path), start)

    def _key(self, path: str) -> str:
        return f"{self.key}/{path}"

    def _size_bytes(self, key: str) -> int:
        if (size_bytes := self.store.size_bytes(key)) is None:
            raise ModelLoadError(f"{self.source}: the store has no '{key}'. {_ADVICE}")
        return size_bytes


_ADVICE = "Put the model there, or correct the card."


@contextmanager
def store_repository(source: str, sha256: str, open_place: OpenPlace | None) -> Iterator[StoreRepository]:
    """The repository while the block runs; what goes wrong with it there is told as ModelLoadError."""
    if open_place is None:
        raise ModelLoadError(f"{source} is not here, and nothing is fetched here. Fetch it: `imagegenx models fetch`.")
    try:
        store, key = open_place(source)
        yield StoreRepository(store, key.rstrip("/"), source, sha256)
    except ModelLoadError:
        raise
    except ImageGenXError as exc:
        raise ModelLoadError(f"{source} cannot be fetched: {exc}") from exc

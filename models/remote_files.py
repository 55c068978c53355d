"""Files of models that are fetched to this machine: resumed where they broke off, and checked."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.errors import ModelLoadError

OnBytes = Callable[[str, int, int], None]
"""Called while a file comes in, with its path, the bytes that are here and the bytes it has."""

CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository; `digest` is its sha256 or, if `is_git`, its object id in git."""

    path: str
    size_bytes: int
    digest: str
    is_git: bool = False


@dataclass(frozen=True)
class RemotePart:
    """What a model needs from elsewhere: where it is, the commit or sha256 it is pinned to, and its folder here."""

    source: str
    revision: str
    folder: Path

    @property
    def is_here(self) -> bool:
        """Whether it has been fetched."""
        return self.folder.is_dir()


class Repository(Protocol):
    """The files of one model, as they are for ever.

    `is_file`: they are a single file, which is wanted whatever its name.
    `outages`: errors after which what came in is worth to be continued.
    """

    @property
    def source(self) -> str: ...

    @property
    def is_file(self) -> bool: ...

    @property
    def outages(self) -> tuple[type[Exception], ...]: ...

    def files(self) -> dict[str, RemoteFile]:
        """All files by path."""
        ...

    def read(self, file: RemoteFile, start: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """The content from byte `start` on, or from an earlier one, which is told."""
        ...


def download(repository: Repository, file: RemoteFile, folder: Path, on_bytes: OnBytes | None) -> Path:
    """The file's checked content in `folder`; continues what is there. ModelLoadError if it is not what it was."""
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        return target
    part = target.with_name(target.name + ".part")
    for attempt in range(_ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(repository, file, part, on_bytes)
            break
        except repository.outages:
            # A line that breaks in the middle is worth another try; one that brings nothing is not.
            if attempt == _ATTEMPTS - 1 or not part.exists() or part.stat().st_size == before:
                raise
    _check(file, part, repository.source)
    return part.rename(target)


def stays_inside(path: str) -> bool:
    """Whether a path that another machine tells leads to a place below the folder it is put into."""
    parts = path.split("/")
    return "\\" not in path and "\0" not in path and not any(part in ("", ".", "..") for part in parts)


def _receive(repository: Repository, file: RemoteFile, part: Path, on_bytes: OnBytes | None) -> None:
    here = part.stat().st_size if part.exists() else 0
    if here >= file.size_bytes:
        part.touch()
        return
    with repository.read(file, here) as (start, chunks), part.open("ab" if start else "wb") as opened:
        here = start
        for chunk in chunks:
            opened.write(chunk)
            here += len(chunk)
            if on_bytes:
                on_bytes(file.path, here, file.size_bytes)


def _check(file: RemoteFile, part: Path, source: str) -> None:
    """Compare with what is told of the file; what is wrong is deleted, so that the next try begins anew."""
    size_bytes = part.stat().st_size
    digest = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False) if file.is_git else hashlib.sha256()
    with part.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
    if size_bytes != file.size_bytes or digest.hexdigest() != file.digest:
        part.unlink()
        raise ModelLoadError(f"{file.path} of {source} came in damaged (its digest is another one). Fetch it again.")

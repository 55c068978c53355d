"""Content digests of files, computed once and remembered for as long as a file is surely the same one."""

import hashlib
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from foundation.private_folder import make_private

logger = logging.getLogger(__name__)

DOUBT_S = 2.0
"""A file that changed less than this before it was read may change again within its clock's granularity, and would look
the same: it is read again."""


class FileMark(NamedTuple):
    """What tells two versions of a file apart.

    Programs set `changed_ns` (mtime) as they like, and copies keep it; `status_ns` (ctime) and `inode` nobody sets.
    """

    size_bytes: int
    changed_ns: int
    status_ns: int
    inode: int

    @classmethod
    def of(cls, file: Path) -> "FileMark":
        """The mark of a file, whatever links lead to it; OSError if there is none."""
        stat = file.stat()
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


class DigestCache:
    """sha256 digests of files, kept in one small JSON file that any number of processes may share.

    Args:
        file: where they are kept; None keeps them in memory only.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, tuple[FileMark, str]] | None = None
        self._lock = threading.Lock()

    def of(self, files: Iterable[Path]) -> dict[Path, str]:
        """The sha256, in hex, of each file's content."""
        with self._lock:
            known = self._known = self._read() if self._known is None else self._known
            fresh: dict[str, tuple[FileMark, str]] = {}
            digests = {file: self._digest(file, known, fresh) for file in files}
            if fresh:
                self._write(fresh)
            return digests

    @staticmethod
    def _digest(file: Path, known: dict[str, tuple[FileMark, str]], fresh: dict[str, tuple[FileMark, str]]) -> str:
        path, mark = str(file.absolute()), FileMark.of(file)
        if path in known and known[path][0] == mark:
            return known[path][1]
        began_s = time.time()
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if began_s - mark.status_ns / 1e9 > DOUBT_S and FileMark.of(file) == mark:
            known[path] = fresh[path] = (mark, digest)
        return digest

    def _read(self) -> dict[str, tuple[FileMark, str]]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
            return {path: (FileMark(*mark), str(digest)) for path, (mark, digest) in data.items()}
        except (ValueError, TypeError, AttributeError, OSError):  # a damaged or older cache costs time, nothing else
            return {}

    def _write(self, fresh: dict[str, tuple[FileMark, str]]) -> None:
        if self._file is None:
            return
        try:
            self._replace(self._file, {**self._read(), **fresh})
        except OSError as exc:
            # They are known in this process; the next one computes them again.
            logger.warning("digests of files cannot be kept in %s: %s", self._file, exc)

    @staticmethod
    def _replace(file: Path, digests: dict[str, tuple[FileMark, str]]) -> None:
        make_private(file.parent)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
        unfinished = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                json.dump(digests, opened)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


_of_this_process = DigestCache(None)


def file_digest(file: Path) -> str:
    """The sha256 of a file's content, in hex, computed once per version of the file; OSError if it cannot be read."""
    return _of_this_process.of([file])[file]

"""Content digests of files, computed once and remembered by path, size and time of change."""

import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from configs.private_folder import make_private

logger = logging.getLogger(__name__)


class DigestCache:
    """sha256 digests of files, kept in one small JSON file that any number of processes may share.

    Args:
        file: where they are kept; None keeps them in memory only.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, str] | None = None
        self._lock = threading.Lock()

    def of(self, files: Iterable[Path]) -> dict[Path, str]:
        """The sha256, in hex, of each file's content."""
        with self._lock:
            known = self._known = self._read() if self._known is None else self._known
            before = len(known)
            digests = {file: self._digest(file, known) for file in files}
            if len(known) > before:
                self._write(known)
            return digests

    @staticmethod
    def _digest(file: Path, known: dict[str, str]) -> str:
        stat = file.stat()
        key = f"{file.absolute()}:{stat.st_size}:{stat.st_mtime_ns}"
        if key not in known:
            with file.open("rb") as opened:
                known[key] = hashlib.file_digest(opened, "sha256").hexdigest()
        return known[key]

    def _read(self) -> dict[str, str]:
        if self._file is None or not self._file.is_file():
            return {}
        try:
            data = json.loads(self._file.read_text(encoding="utf-8"))
        except (ValueError, OSError):  # a damaged cache costs time, nothing else
            return {}
        return data if isinstance(data, dict) else {}

    def _write(self, known: dict[str, str]) -> None:
        if self._file is None:
            return
        try:
            self._replace(self._file, {**self._read(), **known})
        except OSError as exc:
            # They are known in this process; the next one computes them again.
            logger.warning("digests of files cannot be kept in %s: %s", self._file, exc)

    @staticmethod
    def _replace(file: Path, digests: dict[str, str]) -> None:
        make_private(file.parent)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
        unfinished = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                json.dump(digests, opened)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)

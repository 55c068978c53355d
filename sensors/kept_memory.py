"""What a sensor remembers from tick to tick, kept in a file: Dagster writes the whole cursor into every tick's row."""

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from foundation.private_folder import make_private

SHORT = 500
"""A memory of at most so many letters is the cursor itself."""
UNNAMED_S = 3600
"""A file that no tick names is removed after so long, s."""

_REFERENCE = re.compile(r"kept:([0-9a-f]{32})")


class KeptMemory:
    """The memory of one sensor; its cursor holds a short one, or else the digest that names its file.

    A tick may be lost after it was evaluated, and is then evaluated again with the cursor before it; and people try
    ticks on Dagster's page. So a file is never written over, and goes when no tick has named it for an hour.

    Args:
        folder: of this sensor alone; it is made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, cursor: str) -> str:
        """What `keep` was given; "" if the file is gone or damaged: the sensor goes on from what Dagster remembers.

        Raises:
            OSError: if it cannot be read now, which fails the tick.
        """
        reference = _REFERENCE.fullmatch(cursor)
        if reference is None:
            return cursor
        try:
            content = self._file(reference[1]).read_bytes()
            self._file(reference[1]).touch()
        except FileNotFoundError:
            return ""
        return content.decode() if _digest(content) == reference[1] else ""

    def keep(self, memory: str) -> str:
        """The cursor of a memory, which is on the disk when this returns."""
        if len(memory) <= SHORT:
            return memory
        content = memory.encode()
        digest = _digest(content)
        if not self._file(digest).exists():
            self._write(digest, content)
        self._file(digest).touch()
        unnamed_since_s = time.time() - UNNAMED_S
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another tick removes it too
                if file.stat().st_mtime < unnamed_since_s:
                    file.unlink()
        return f"kept:{digest}"

    def _write(self, digest: str, content: bytes) -> None:
        make_private(self._folder)
        partial = self._folder / f"{digest}-{uuid4().hex}.partial"
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._file(digest))

    def _file(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]

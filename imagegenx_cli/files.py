"""Files named on the command line."""

import os
import tempfile
from pathlib import Path

from configs.errors import ImageGenXError


class FileError(ImageGenXError):
    """A file named on the command line cannot be read or written."""


def read_file(file: Path) -> bytes:
    """A file's content. Raises FileError saying why it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as exc:
        raise FileError(f"{file} cannot be read: {exc.strerror}.") from exc


def write_file(file: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises FileError saying why it cannot be written."""
    try:
        handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:100]}-")
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(data)
                os.fchmod(handle, 0o644)
            Path(partial).replace(file)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise FileError(f"{file} cannot be written: {exc.strerror}.") from exc

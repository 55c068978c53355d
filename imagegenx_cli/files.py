"""Files named on the command line."""

import os
import secrets
import stat
from errno import EACCES
from pathlib import Path

from foundation.errors import ImageGenXError


class FileError(ImageGenXError):
    """A file named on the command line cannot be read or written."""


def read_file(file: Path) -> bytes:
    """A file's content. Raises FileError saying why it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as exc:
        raise FileError(f"{file} cannot be read: {exc.strerror}.") from exc


def check_writable(file: Path) -> None:
    """Raise FileError, before the work whose result shall be written there, if `write_file` would not succeed."""
    try:
        target = _target(file)
        if _is_special(target):
            return
        handle, partial = _partial_file(target)
        os.close(handle)
        partial.unlink()
    except OSError as exc:
        raise _not_written(file, exc) from exc


def write_file(file: Path, data: bytes) -> None:
    """Write a file whole or not at all, with the permissions of the one before it, else those that the umask leaves.

    A symbolic link is followed; a device or pipe is written to as it is.

    Raises:
        FileError: saying why it cannot be written.
    """
    try:
        target = _target(file)
        if _is_special(target):
            target.write_bytes(data)
        else:
            _replace(target, data)
    except OSError as exc:
        raise _not_written(file, exc) from exc


def _target(file: Path) -> Path:
    """The file behind symbolic links, there or not yet. Raises FileError or OSError where none can be written."""
    target = Path(os.path.realpath(file))
    try:
        if stat.S_ISDIR(target.stat().st_mode):
            raise FileError(f"{file} cannot be written: it is a folder. Name a file in it.")
    except FileNotFoundError as exc:
        if not target.parent.is_dir():
            raise FileError(f"{file} cannot be written: there is no folder {target.parent}. Make it first.") from exc
    else:
        if not os.access(target, os.W_OK):
            raise PermissionError(EACCES, os.strerror(EACCES))
    return target


def _is_special(target: Path) -> bool:
    return target.exists() and not target.is_file()


def _partial_file(target: Path) -> tuple[int, Path]:
    """A new file beside the target, open for writing."""
    partial = target.with_name(f".imagegenx-{secrets.token_hex(8)}")
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), partial


def _not_written(file: Path, exc: OSError) -> FileError:
    return FileError(f"{file} cannot be written: {exc.strerror}.")


def _replace(target: Path, data: bytes) -> None:
    handle, partial = _partial_file(target)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(data)
            if target.exists():
                os.fchmod(handle, stat.S_IMODE(target.stat().st_mode))
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

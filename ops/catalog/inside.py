"""Files of a folder that others may write into: no link leads the reader out of it."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from foundation.problems import shown


class LeadsOutError(ValueError):
    """What is named in a folder is a link to somewhere else, or no file; the message is the broken rule."""


def open_inside(folder: Path, place: str) -> BufferedReader:
    """Open the regular file at `place` (relative, with '/') below `folder`.

    Links may lead to other places in the folder. Every step is opened without following links, so that a link that is
    put in its place meanwhile is not followed either.

    Raises:
        LeadsOutError: if it lies outside of the folder, or is no regular file.
        OSError: if it is not there or cannot be read.
    """
    root = folder.resolve(strict=True)
    try:
        target = (root / place).resolve(strict=True)
    except RuntimeError as exc:  # a loop of links, on Python 3.11 and 3.12
        raise LeadsOutError(f"{shown(place)} is a link to itself") from exc
    if not target.is_relative_to(root):
        raise LeadsOutError(f"{shown(place)} is a link that leads out of the catalog's folder")
    descriptor = _open_steps(root, target.relative_to(root).parts)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LeadsOutError(f"{shown(place)} is no regular file")
    return os.fdopen(descriptor, "rb")


def _open_steps(root: Path, steps: tuple[str, ...]) -> int:
    """A descriptor of what the steps lead to, without following a link; never waits for a pipe's other end."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for step in steps:
        try:
            following = os.open(step, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
    return descriptor

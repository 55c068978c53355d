"""Folders that only this user may look into: what the product keeps is nobody else's on the machine."""

import os
from pathlib import Path

_OTHERS = 0o007


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone (mode 0700).

    From a folder that is there already, and is ours, other users' rights are taken away; its group keeps what it has,
    since containers share volumes that way.

    Raises:
        OSError: if it cannot be made.
    """
    for missing in reversed([path for path in folder.parents if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if status.st_uid == os.geteuid() and status.st_mode & _OTHERS:
        folder.chmod(status.st_mode & 0o7777 & ~_OTHERS)

"""Folders for what tests share, outside of pytest's own, which only their user may enter."""

import os
import shutil
import tempfile
from pathlib import Path

import psutil


def own_folder(kind: str) -> Path:
    """A new folder, named after this process, which removes it; here go those whose process was killed before."""
    prefix = f"imagegenx-{kind}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}[0-9]*-*"):
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-"))

"""A GPU of its own for each process that computes, as long as the machine has enough that the process may see."""

import fcntl
import logging
import os
import socket
import tempfile
from io import BufferedWriter
from pathlib import Path

from configs.settings import Settings
from foundation.private_folder import make_private
from models.gpus import VisibleGPU, visible_gpus

logger = logging.getLogger(__name__)

ANY_GPU = ("auto", "cuda")
"""Values of `engine.device` that name no GPU: which of several it is may be chosen."""

_taken: list[int] = []
"""PyTorch's number of the GPU of this process, once it has one."""
_locks: list[BufferedWriter] = []
"""Open files hold the locks for as long as the process lives."""


def with_own_gpu(settings: Settings) -> Settings:
    """The settings with the GPU that this process takes; unchanged where it sees none, or one is named.

    It stays the same for the life of the process, since loaded models do. A GPU that another process of this machine
    has taken is left to it, whatever its home folder and whatever number the GPU has there; where all are taken, it is
    the one with the most free memory.
    """
    if settings.engine.device not in ANY_GPU:
        return settings
    if not _taken:
        gpus = visible_gpus()
        if not gpus:
            return settings
        _taken.append(_take(gpus))
    engine = settings.engine.model_copy(update={"device": f"cuda:{_taken[0]}"})
    return settings.model_copy(update={"engine": engine})


def _take(gpus: tuple[VisibleGPU, ...]) -> int:
    emptiest_first = sorted(gpus, key=lambda gpu: -gpu.memory_free_bytes)
    for gpu in emptiest_first:
        if _lock(gpu.uuid):
            return gpu.index
    chosen = emptiest_first[0]
    logger.warning("all %d GPUs that this process sees are in use by others: it shares %s.", len(gpus), chosen.uuid)
    return chosen.index


def _lock(uuid: str) -> bool:
    """Whether this process has the GPU from now on. The locks of a machine are in its own folder for such files."""
    folder = Path(tempfile.gettempdir()) / f"imagegenx-{os.getuid()}-gpus"
    make_private(folder)
    lock = (folder / f"{socket.gethostname()}-{uuid}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _locks.append(lock)
    return True

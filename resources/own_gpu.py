"""A GPU of its own for each catalog run of a machine, as long as there are enough."""

import fcntl
import socket
from io import BufferedWriter
from pathlib import Path

from configs.settings import Settings
from foundation.private_folder import make_private
from models.gpu_load import GPULoad, read_gpu_loads

ANY_GPU = ("auto", "cuda")
"""Values of `engine.device` that name no GPU: which of several it is may be chosen."""

_taken: dict[Path, int] = {}
"""The GPU of this process, by the folder of its locks; open files hold the locks for as long as the process lives."""
_locks: list[BufferedWriter] = []


def with_own_gpu(settings: Settings) -> Settings:
    """The settings with the GPU that this process takes; unchanged where there is one or none, or one is named.

    It stays the same for the life of the process, since loaded models do. Where every GPU has a run already, it is the
    one with the most free memory. Serving runs do not count: each has the GPU of its slot, and leaves room.
    """
    if settings.engine.device not in ANY_GPU:
        return settings
    folder = settings.home / "cache" / "gpus"
    if folder not in _taken:
        gpus = read_gpu_loads()
        if len(gpus) < 2:
            return settings
        _taken[folder] = _take(gpus, folder)
    engine = settings.engine.model_copy(update={"device": f"cuda:{_taken[folder]}"})
    return settings.model_copy(update={"engine": engine})


def _take(gpus: tuple[GPULoad, ...], folder: Path) -> int:
    make_private(folder)
    emptiest_first = sorted(gpus, key=lambda gpu: gpu.memory_used_bytes - gpu.memory_total_bytes)
    for gpu in emptiest_first:
        # The home folder may be shared by machines, whose GPUs have the same numbers.
        lock = (folder / f"{socket.gethostname()}-{gpu.device_id}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            _locks.append(lock)
            return gpu.device_id
    return emptiest_first[0].device_id

"""The GPUs of this machine: how busy they are, told by NVIDIA's management library, and which PyTorch shows.

The library shows every GPU of the machine, whatever CUDA_VISIBLE_DEVICES says; its numbers are not PyTorch's.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GPULoad:
    """One GPU: `utilization` 0 to 100 is the share of the last moments in which it computed; memory in bytes."""

    device_id: int
    utilization: float
    memory_used_bytes: int
    memory_total_bytes: int


def read_gpu_loads() -> tuple[GPULoad, ...]:
    """The load of every GPU that tells it; none where there is no GPU, no driver, or no `nvidia-ml-py`."""
    with _nvml() as nvml:
        return tuple(load for index in range(_count(nvml)) if (load := _load(nvml, index)))


def has_gpus() -> bool:
    """Whether the driver tells of a GPU, visible to this process or not."""
    with _nvml() as nvml:
        return _count(nvml) > 0


def memory_used_bytes(uuid: str) -> int:
    """How much memory of a GPU is in use, by all processes; 0 if it does not tell."""
    named = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    with _nvml() as nvml:
        try:
            return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByUUID(named)).used) if nvml else 0
        except nvml.NVMLError as exc:
            logger.debug("no memory of GPU %s: %s", uuid, exc)
            return 0


def _count(nvml: Any) -> int:
    """The GPUs of the machine; 0 without the library, or while it fails."""
    try:
        return int(nvml.nvmlDeviceGetCount()) if nvml else 0
    except nvml.NVMLError as exc:
        logger.debug("no GPU loads: %s", exc)
        return 0


@contextmanager
def _nvml() -> Iterator[Any]:
    """The library, ready for use; None where it has nothing to tell of."""
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        yield None
        return
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as exc:
        logger.debug("no GPU loads: %s", exc)
        yield None
        return
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def _load(nvml: Any, index: int) -> GPULoad | None:
    """None for a GPU that tells no load, as one that is split into instances (MIG)."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        utilization = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError as exc:
        logger.debug("no load of GPU %d: %s", index, exc)
        return None
    return GPULoad(index, utilization, int(memory.used), int(memory.total))


@dataclass(frozen=True)
class VisibleGPU:
    """One GPU: its number for PyTorch, in this process, and the UUID that it has in all of them."""

    index: int
    uuid: str
    memory_free_bytes: int


def visible_gpus() -> tuple[VisibleGPU, ...]:
    """Every GPU that PyTorch shows; none where it shows none. Nothing is allocated on any of them.

    PyTorch takes seconds to import: where the driver tells of no GPU, it is not asked.
    """
    if not has_gpus():
        return ()
    import torch

    if not torch.cuda.is_available():
        return ()
    return tuple(_gpu(index, torch.cuda.get_device_properties(index)) for index in range(torch.cuda.device_count()))


def _gpu(index: int, properties: Any) -> VisibleGPU:
    uuid = str(properties.uuid)
    return VisibleGPU(index, uuid, properties.total_memory - memory_used_bytes(uuid))

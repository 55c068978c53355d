"""How busy the GPUs of this machine are, told by NVIDIA's management library; no PyTorch needed."""

import logging
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
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        return ()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as exc:
        logger.debug("no GPU loads: %s", exc)
        return ()
    try:
        return tuple(load for index in range(nvml.nvmlDeviceGetCount()) if (load := _load(nvml, index)))
    except nvml.NVMLError as exc:
        logger.debug("no GPU loads: %s", exc)
        return ()
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

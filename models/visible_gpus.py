"""The GPUs that this process may compute on, as PyTorch shows them.

NVIDIA's management library shows every GPU of the machine, whatever CUDA_VISIBLE_DEVICES says; its numbers are not
PyTorch's.
"""

from dataclasses import dataclass
from typing import Any

from models.gpu_load import has_gpus, memory_used_bytes


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

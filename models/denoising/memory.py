"""Memory: what weights take, how to tell that it ran out, and what to give back before trying again."""

from collections.abc import Iterable
from itertools import chain

import torch

from models.heap import return_freed_memory

_MARKS = ("can't allocate memory", "ALLOC_FAILED", "CUDA error: out of memory")
"""In the plain RuntimeErrors of PyTorch's CPU allocator, of cuBLAS and cuDNN, and of what allocates beside PyTorch."""


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether a GPU or the CPU could not give the memory a computation asked for."""
    if isinstance(exc, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(exc, RuntimeError) and any(mark in str(exc) for mark in _MARKS)


def return_memory() -> None:
    """Give cached blocks back to the devices; no more than that of what a failed attempt still refers to."""
    return_freed_memory()
    torch.cuda.empty_cache()


def weights_bytes(parts: Iterable[object]) -> int:
    """Bytes of all parameters and buffers of those parts that are networks, each tensor once."""
    networks = [part for part in parts if isinstance(part, torch.nn.Module)]
    tensors = chain.from_iterable(chain(network.parameters(), network.buffers()) for network in networks)
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())

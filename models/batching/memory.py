"""Running out of memory: how to tell, and what to give back before trying again."""

import torch


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether a GPU or the CPU could not give the memory a computation asked for."""
    if isinstance(exc, torch.OutOfMemoryError | MemoryError):
        return True
    # PyTorch's CPU allocator and cuBLAS raise a plain RuntimeError.
    text = str(exc)
    return isinstance(exc, RuntimeError) and any(mark in text for mark in ("can't allocate memory", "ALLOC_FAILED"))


def return_memory(device: torch.device) -> None:
    """Give cached blocks back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()

"""A loaded model made fast on its device, without changing what it computes."""

from typing import Any

import torch

from models.batching.rows import BatchSizes
from models.batching.step_model import StepModel

COMPILED_SIZES = BatchSizes((1, 2, 4, 8, 16))
"""Rows of a compiled pass: few sizes, so that few graphs are compiled and captured."""


def tune(model: StepModel, accelerator: str) -> BatchSizes:
    """Prepare the model for its accelerator, and say which batch sizes suit it.

    Args:
        accelerator: `eager` (channels last in memory on a GPU; attention is PyTorch's fused kernel already), or
            `compile` (`torch.compile`, on a GPU with CUDA graphs; compiled code is cached on disk by PyTorch, in
            TORCHINDUCTOR_CACHE_DIR). Compilation happens at the first pass of each batch size, resolution and LoRA.
    """
    if model.device.type == "cuda":
        for part in (model.unet, model.vae, model.controlnet):
            if part is not None:
                part.to(memory_format=torch.channels_last)
    if accelerator != "compile":
        return BatchSizes()
    model.unet = CompiledPart(model.unet)
    if model.controlnet is not None:
        model.controlnet = CompiledPart(model.controlnet)
    return COMPILED_SIZES


class CompiledPart:
    """A UNet or ControlNet compiled for fixed shapes. Its outputs are the caller's to keep."""

    def __init__(self, part: Any) -> None:
        self.config = part.config
        self._on_gpu = part.device.type == "cuda"
        mode = "reduce-overhead" if self._on_gpu else None
        self._run: Any = torch.compile(part, dynamic=False, mode=mode)

    def __call__(self, **inputs: Any) -> Any:
        """Run it, as the part it was made from."""
        if not self._on_gpu:
            return self._run(**inputs)
        torch.compiler.cudagraph_mark_step_begin()
        # The next replay overwrites what a CUDA graph returned.
        return _cloned(self._run(**inputs))


def _cloned(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.clone()
    return type(output)(_cloned(one) for one in output)

"""A loaded model made fast on its device, without changing what it computes."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from diffusers.models.attention_processor import Attention

from models.acceleration.availability import compile_failure
from models.acceleration.building import process_builds
from models.acceleration.exact_rows import ROWS_MULTIPLE, make_rows_exact
from models.acceleration.openvino import OpenVINOUNet
from models.acceleration.tensorrt import TENSORRT_SIZES, TensorRTUNet
from models.denoising.batch_sizes import BatchSizes
from models.denoising.dit_model import DiTModel
from models.denoising.unet_model import UNetModel
from models.errors import ModelError

_MOST_GRAPHS = 256
"""Graphs of one network: each batch size, resolution, length of text and LoRA has its own. From PyTorch's default of 8
on, further ones would run uncompiled, and nothing would say so."""

COMPILED_SIZES = BatchSizes((1, 2, 4, 8, 16))
"""Rows of a compiled pass: few sizes, so that few graphs are compiled and captured."""


def tune(
    model: UNetModel, accelerator: str, engines: Path = Path(), release: str = "", *, has_loras: bool = True
) -> BatchSizes:
    """Prepare the model for its accelerator, and say which batch sizes suit it.

    Args:
        accelerator: `eager` (channels last in memory; attention is PyTorch's fused kernel already), or
            `compile` (`torch.compile`, on a GPU with CUDA graphs). Compilation happens at the first pass of each batch
            size, resolution and LoRA. `tensorrt` and `openvino` build engines instead, see `TensorRTUNet` and
            `OpenVINOUNet`.
        engines: the folder of built engines.
        release: the digest of the model's files, which engines are kept by.
        has_loras: the model may get LoRAs, which need the projections of attention apart; else they are joined.
    """
    for part in (model.unet, model.vae, *model.controlnets.values()):
        part.to(memory_format=torch.channels_last)
    if not has_loras:
        join_projections(model.unet)
    if accelerator == "tensorrt":
        model.unet = TensorRTUNet(model.unet, engines, release, model.px_per_latent)
        return TENSORRT_SIZES
    if accelerator == "openvino":
        model.unet = OpenVINOUNet(model.unet, engines, release)
        return BatchSizes(apart=True)
    if accelerator != "compile":
        return exact_on_cpu(model, model.unet, *model.controlnets.values())
    model.unet = CompiledPart(model.unet)
    model.controlnets = {name: CompiledPart(part) for name, part in model.controlnets.items()}
    return COMPILED_SIZES


def exact_on_cpu(model: UNetModel | DiTModel, *networks: Any) -> BatchSizes:
    """Have company change no bit of a picture on a CPU: passes that are computed row by row, or are one request's."""
    if model.device.type != "cpu":
        return BatchSizes()
    if model.latents_dtype != model.dtype:
        # Products of bfloat16 differ with the number of rows; those of large networks gain nothing by company.
        return BatchSizes(apart=True)
    for network in networks:
        make_rows_exact(network)
    return BatchSizes(multiple=ROWS_MULTIPLE)


def join_projections(unet: Any) -> None:
    """Have attention compute query, key and value in one product, or key and value where the text is attended to.

    The same numbers in fewer, larger products: no faster on a CPU. The single projections are dropped, for good.
    """
    unet.fuse_qkv_projections()
    for module in unet.modules():
        if isinstance(module, Attention):
            for name in ("to_k", "to_v") if module.is_cross_attention else ("to_q", "to_k", "to_v"):
                delattr(module, name)


class CompiledPart:
    """A UNet or ControlNet compiled for fixed shapes. Its outputs are the caller's to keep."""

    def __init__(self, part: Any) -> None:
        self.config = part.config
        self._on_gpu = part.device.type == "cuda"
        mode = "reduce-overhead" if self._on_gpu else None
        self._part = part
        self._run: Any = torch.compile(part, dynamic=False, mode=mode)
        self._name = type(part).__name__
        self._shapes: set[torch.Size] = set()
        self._failures: dict[torch.Size, str] = {}

    def __call__(self, **inputs: Any) -> Any:
        """Run it, as the part it was made from; the first run of each shape compiles, and says so.

        Raises:
            ModelError: if this shape cannot be compiled, which is not tried again, for each try takes minutes. Run
                uncompiled, its pictures would not be those that their recipes name.
        """
        shape = inputs["sample"].shape
        return self._called(inputs) if shape in self._shapes else self._first_call(shape, inputs)

    def _first_call(self, shape: torch.Size, inputs: dict[str, Any]) -> Any:
        rows, _, height, width = shape
        what = f"graph of {self._name} for {rows} rows of latents {width}×{height}"
        if shape not in self._failures:
            try:
                with process_builds().run(what, "compiling"):
                    output = self._called(inputs)
            except torch.OutOfMemoryError:
                raise
            except Exception as exc:  # a kernel, a compiler, a driver: each raises its own
                self._failures[shape] = compile_failure(exc)
            else:
                self._shapes.add(shape)
                return output
        raise ModelError(f"the {what} cannot be compiled ({self._failures[shape]}). Use accelerator eager.")

    def _called(self, inputs: dict[str, Any]) -> Any:
        if not self._on_gpu:
            return self._computed(inputs)
        return _graph_thread().submit(self._replay, inputs).result()

    @torch.no_grad()
    def _replay(self, inputs: dict[str, Any]) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        # The next replay overwrites what a CUDA graph returned.
        return _cloned(self._computed(inputs))

    def _computed(self, inputs: dict[str, Any]) -> Any:
        # PyTorch keeps its configuration by thread, so this cannot be said where the model is loaded.
        if torch._dynamo.config.recompile_limit < _MOST_GRAPHS:
            torch._dynamo.config.recompile_limit = _MOST_GRAPHS
        return self._run(**inputs)


@cache
def _graph_thread() -> ThreadPoolExecutor:
    """The one thread that captures and replays: PyTorch keeps CUDA graphs by thread, and engines come and go."""
    return ThreadPoolExecutor(1, "imagegenx-graphs")


def _cloned(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return output.clone()
    return type(output)(_cloned(one) for one in output)

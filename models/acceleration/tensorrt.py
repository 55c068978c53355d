"""A UNet as TensorRT engines, through `torch-tensorrt`: built at first use, kept on disk.

Not run on hardware yet: checked against the signatures of torch-tensorrt 2.11, and tested with a stand-in for it.
"""

import hashlib
import json
import logging
import os
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from models.acceleration.export import FEWEST_ROWS, export_unet, unet_inputs
from models.batching.rows import BatchSizes
from models.errors import ModelError

logger = logging.getLogger(__name__)

TENSORRT_SIZES = BatchSizes((2, 4, 8, 16))
"""Rows of a pass: what an engine's range holds, few so that few CUDA graphs are captured."""

_PACKAGES = ("torch", "torch-tensorrt", "tensorrt")

Shape = tuple[int, int, int]
"""Height and width of the latents, and tokens of the text."""


class TensorRTUNet:
    """Stands in for a UNet: one engine per latent size and text length, each for 2 to 16 rows.

    Args:
        folder: where built engines are kept; any number of processes may share it.
        release: the digest of the model's files. Engines of other files, GPUs or versions are never used.
    """

    def __init__(self, unet: Any, folder: Path, release: str) -> None:
        self.config = unet.config
        self._unet = unet
        self._folder = folder
        self._release = release
        self._engines: dict[Shape, Any] = {}
        self._trt: Any = import_module("torch_tensorrt")
        self._trt.runtime.set_cudagraphs_mode(True)

    def __call__(
        self,
        *,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        timestep_cond: torch.Tensor | None = None,
        added_cond_kwargs: dict[str, torch.Tensor] | None = None,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """Run it, as the UNet it was made from."""
        if timestep_cond is not None:
            raise ModelError("accelerator 'tensorrt' does not run models with embedded guidance; use compile or eager.")
        shape = (sample.shape[2], sample.shape[3], encoder_hidden_states.shape[1])
        if shape not in self._engines:
            self._engines[shape] = self._load(shape) or self._build(shape)
        added = tuple((added_cond_kwargs or {}).values())
        # The next replay overwrites what a CUDA graph returned.
        return (self._engines[shape](sample, timestep, encoder_hidden_states, *added).clone(),)

    def file(self, shape: Shape) -> Path:
        """Where the engine of a shape is kept."""
        device = self._unet.device
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        facts = [self._release, gpu, str(self._unet.dtype), TENSORRT_SIZES.sizes, shape, *map(_version, _PACKAGES)]
        return self._folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.ep"

    def _load(self, shape: Shape) -> Any:
        file = self.file(shape)
        return self._trt.load(str(file)).module() if file.is_file() else None

    def _build(self, shape: Shape) -> Any:
        """Export and compile, and keep the result for the next process."""
        most = max(TENSORRT_SIZES.sizes)
        logger.info("building a TensorRT engine for latents %d×%d; this takes minutes, once", *shape[:2])
        began = time.perf_counter()
        smallest, largest = (unet_inputs(self._unet, rows, *shape) for rows in (FEWEST_ROWS, most))
        ranges = [
            self._trt.Input(min_shape=least.shape, opt_shape=full.shape, max_shape=full.shape, dtype=full.dtype)
            for least, full in zip(smallest, largest, strict=True)
        ]
        program = export_unet(self._unet, *shape, most)
        engine = self._trt.dynamo.compile(program, inputs=ranges, device=self._unet.device, truncate_double=True)
        logger.info("built in %.0f s", time.perf_counter() - began)
        self._keep(engine, smallest, self.file(shape))
        return engine

    def _keep(self, engine: Any, inputs: tuple[torch.Tensor, ...], file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}.ep")
        self._trt.save(engine, str(unfinished), output_format="exported_program", inputs=list(inputs))
        unfinished.replace(file)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

"""A UNet as TensorRT engines, through `torch-tensorrt`: built at first use, kept on disk.

Not run on hardware yet: checked against the code of torch-tensorrt 2.11 to 2.14, and tested with a stand-in for it.
"""

import logging
import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from foundation.error_text import cause_text
from foundation.private_folder import make_private
from models.acceleration.building import process_builds
from models.acceleration.export import FEWEST_ROWS, ExportedUNet, export_unet, row_shapes, unet_inputs
from models.denoising.batch_sizes import BatchSizes
from models.denoising.memory import weights_bytes
from models.errors import ModelError

logger = logging.getLogger(__name__)

TENSORRT_SIZES = BatchSizes((2, 4, 8, 16))
"""Rows of a pass: what an engine's range holds, few so that few CUDA graphs are captured."""

_PACKAGES = ("torch", "torch-tensorrt", "tensorrt", "tensorrt-cu13", "tensorrt-cu12")
"""Whose versions an engine depends on; TensorRT itself comes under one or two of the last three names."""

_PICKLED_BYTES = 3 * 2**30
"""Larger engines go beyond the 4 GB that pickle's protocol 2 holds in one piece; PyTorch warns of protocol 4."""

Shape = tuple[int, int, int]
"""Height and width of the latents, and tokens of the text."""


class TensorRTUNet(ExportedUNet):
    """One engine per latent size and text length, each for 2 to 16 rows; never one of another GPU or version.

    Args:
        px_per_latent: to name sizes by.
    """

    accelerator = "tensorrt"

    def __init__(self, unet: Any, folder: Path, release: str, px_per_latent: int = 8) -> None:
        super().__init__(unet, folder, release)
        self._px_per_latent = px_per_latent
        self._engines: dict[Shape, Any] = {}
        self._failures: dict[Shape, str] = {}
        self._trt: Any = import_module("torch_tensorrt")
        self._trt.runtime.set_cudagraphs_mode(True)

    def _run(self, *inputs: torch.Tensor) -> torch.Tensor:
        sample, _, states = inputs[:3]
        shape = (sample.shape[2], sample.shape[3], states.shape[1])
        if shape not in self._engines:
            self._engines[shape] = self._load(shape) or self._built(shape)
        parts = zip(*(torch.split(one, max(TENSORRT_SIZES.sizes)) for one in inputs), strict=True)
        # The next replay overwrites what a CUDA graph returned.
        return torch.cat([self._engines[shape](*part).clone() for part in parts])

    def file(self, shape: Shape) -> Path:
        """Where the engine of a shape is kept."""
        device = self._unet.device
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
        facts = [gpu, str(self._unet.dtype), TENSORRT_SIZES.sizes, shape, *map(_version, _PACKAGES)]
        return self._file_for(facts, ".ep")

    def _load(self, shape: Shape) -> Any:
        """The kept engine; None if there is none, or none that can be read."""
        file = self.file(shape)
        if not file.is_file():
            return None
        try:
            return self._trt.load(str(file)).module()
        except Exception:
            logger.exception("the engine in %s cannot be read and is built again", file)
            return None

    def _built(self, shape: Shape) -> Any:
        """A new engine; one that could not be built is not tried again, for each try takes minutes."""
        if shape not in self._failures:
            try:
                return self._build(shape)
            except Exception as exc:
                logger.exception("no TensorRT engine for %s", self._named(shape))
                self._failures[shape] = f"{type(exc).__name__}: {cause_text(exc)}"
        raise ModelError(
            f"the TensorRT engine for {self._named(shape)} cannot be built ({self._failures[shape]}). "
            "Use accelerator compile or eager."
        )

    def _build(self, shape: Shape) -> Any:
        """Export and compile, and keep the result for the next process."""
        most = max(TENSORRT_SIZES.sizes)
        what = (
            f"TensorRT engine {len(self._engines) + 1} of this model, {self._named(shape)}, {FEWEST_ROWS}-{most} rows"
        )
        with process_builds().run(what, "exporting", "compiling", "keeping") as go_on:
            smallest, largest = (unet_inputs(self._unet, rows, *shape) for rows in (FEWEST_ROWS, most))
            ranges = [
                self._trt.Input(min_shape=least.shape, opt_shape=full.shape, max_shape=full.shape, dtype=full.dtype)
                for least, full in zip(smallest, largest, strict=True)
            ]
            program = export_unet(self._unet, *shape, most)
            go_on()
            engine = self._trt.dynamo.compile(program, inputs=ranges, device=self._unet.device, truncate_double=True)
            go_on()
            self._keep(engine, smallest, self.file(shape))
        return engine

    def _keep(self, engine: Any, inputs: tuple[torch.Tensor, ...], file: Path) -> None:
        make_private(file.parent)
        unfinished = file.with_suffix(f".{os.getpid()}.ep")
        try:
            self._trt.save(
                engine,
                str(unfinished),
                output_format="exported_program",
                arg_inputs=list(inputs),
                # Without them the file would take only as many rows as `inputs` have.
                dynamic_shapes=row_shapes(inputs, max(TENSORRT_SIZES.sizes)),
                pickle_protocol=4 if weights_bytes([self._unet]) > _PICKLED_BYTES else 2,
            )
            unfinished.replace(file)
        except Exception:
            # It works all the same; the next process builds it again.
            logger.exception("the engine cannot be kept as %s", file)
            unfinished.unlink(missing_ok=True)

    def _named(self, shape: Shape) -> str:
        height, width, tokens = shape
        return f"{width * self._px_per_latent}×{height * self._px_per_latent} px and {tokens} tokens"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

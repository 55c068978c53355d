"""A UNet as OpenVINO runs it on a CPU: converted at first use, kept on disk."""

import logging
import os
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from foundation.error_text import cause_text
from foundation.private_folder import make_private
from models.acceleration.building import process_builds
from models.acceleration.export import ExportedUNet, PlainUNet, unet_inputs
from models.errors import ModelError

logger = logging.getLogger(__name__)

Shape = tuple[int, int, int, int]
"""Rows, height and width of the latents, and tokens of the text."""


class _InFloat32(torch.nn.Module):
    """A UNet of any number type with inputs and output of float32: NumPy, which OpenVINO speaks, has no bfloat16."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet, self.dtype = PlainUNet(unet), unet.dtype

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.unet(sample.to(self.dtype), timestep, *(one.to(self.dtype) for one in others))
        return output.float()


class OpenVINOUNet(ExportedUNet):
    """One graph for all sizes on disk, compiled for each number of rows, size and text length."""

    accelerator = "openvino"

    def __init__(self, unet: Any, folder: Path, release: str) -> None:
        super().__init__(unet, folder, release)
        self._dtype: torch.dtype = unet.dtype
        self._compiled: dict[Shape, Any] = {}
        self._openvino: Any = import_module("openvino")
        self._facts = [str(unet.dtype), *map(version, ("torch", "openvino", "diffusers"))]

    def _run(self, *inputs: torch.Tensor) -> torch.Tensor:
        sample, _, states = inputs[:3]
        rows, _, height, width = sample.shape
        shape = (rows, height, width, states.shape[1])
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(inputs, shape)
        outputs = self._compiled[shape]([one.float().numpy() for one in inputs], share_inputs=True)
        return torch.from_numpy(outputs[0].copy()).to(sample.dtype)

    def _compile(self, inputs: tuple[torch.Tensor, ...], shape: Shape) -> Any:
        rows, height, width, tokens = shape
        what = f"OpenVINO graph for {rows} rows of latents {width}×{height} and {tokens} tokens"
        try:
            with process_builds().run(what, "converting", "compiling") as go_on:
                core = self._openvino.Core()
                graph = core.read_model(self._kept(shape))
                go_on()
                graph.reshape({place: list(one.shape) for place, one in enumerate(inputs)})
                hint = "bf16" if self._dtype == torch.bfloat16 else "f32"
                options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
                return core.compile_model(graph, "CPU", options)
        except Exception as exc:  # conversion and compilation fail in many ways, each with a type of its own
            logger.exception("no %s", what)
            raise ModelError(f"the {what} cannot be built ({cause_text(exc)}). Use accelerator eager.") from exc

    def file(self, shape: Shape) -> Path:
        """Where the graph is kept: one for all sizes that the UNet halves evenly, one for each other size."""
        factor = 2 ** (len(self.config.block_out_channels) - 1)
        return self._file_for([*self._facts, [side for side in shape[1:3] if side % factor] and shape[1:3]], ".xml")

    def _kept(self, shape: Shape) -> Path:
        """The file of the graph, made if it is not there."""
        file = self.file(shape)
        if not file.is_file():
            make_private(file.parent)
            example = tuple(one.float() for one in unet_inputs(self._unet, *shape))
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about checks of shapes, which hold for every shape of this file
                graph = self._converted(torch.jit.trace(_InFloat32(self._unet), example, check_trace=False), example)
            part = file.with_name(f"{file.stem}.{os.getpid()}.xml")
            self._openvino.save_model(graph, part, compress_to_fp16=False)
            # The weights first: a graph that is there has them.
            part.with_suffix(".bin").replace(file.with_suffix(".bin"))
            part.replace(file)
        return file

    def _converted(self, traced: Any, example: tuple[torch.Tensor, ...]) -> Any:
        """Its graph, by OpenVINO's own reader: `openvino.convert_model` would tell its makers that it was used.

        With weights of its own: of bfloat16 ones in channels-last order it would share a copy that is freed before.
        """
        frontend = import_module("openvino.frontend").FrontEndManager().load_by_framework("pytorch")
        decoders = import_module("openvino.frontend.pytorch.ts_decoder")
        decoder = decoders.TorchScriptPythonDecoder(traced, example_input=example, shared_memory=False)
        return frontend.convert(frontend.load(decoder))

"""Families of diffusion transformers: diffusers' parts, run by our own denoising loop."""

from pathlib import Path
from typing import Any, ClassVar

import torch

from models.acceleration.tuning import exact_on_cpu
from models.denoising.dit_model import ENCODERS, DiTModel
from models.denoising.stepper import Stepper
from models.families.encoders import load_encoders
from models.families.pipeline_family import PipelineFamily
from models.hub import fetch_missing
from models.model_files import weights_variant


class DiTFamily(PipelineFamily):
    """One checkpoint in the diffusers layout; a family names its pipeline and its model."""

    pipelines: ClassVar[Any]
    model: ClassVar[type[DiTModel]]
    unused_parts: ClassVar[tuple[str, ...]] = ()
    optional_parts: ClassVar[tuple[str, ...]] = ()

    def load(self) -> None:
        """Load the parts, from safetensors files only; what is on a hub is fetched first."""
        fetch_missing(self.card)
        assert self.card.path
        dtype = getattr(torch, self.placement.dtype)
        variant, without = weights_variant(self.card.path), self._without(self.card.path)
        parts = {**without, **load_encoders(self.card.path, dtype, without=without, variant=variant)}
        options = {"dtype": dtype, "variant": variant, "use_safetensors": True, "local_files_only": True}
        pipeline = self.pipelines.from_pretrained(str(self.card.path), **options, **parts)
        self._place(pipeline)
        model = self.model(pipeline, self.card.options)
        self._begin(pipeline, Stepper(model, exact_on_cpu(model, pipeline.transformer)))

    @classmethod
    def _without(cls, folder: Path) -> dict[str, None]:
        """The parts that are not loaded: those that are never used, and those that the checkpoint leaves out."""
        absent = [part for part in cls.optional_parts if not (folder / part).is_dir()]
        return dict.fromkeys([*cls.unused_parts, *absent])

    def _place(self, pipeline: Any) -> None:
        """Bring the parts to the device, but for those that `offload` keeps beside it."""
        device, offload = torch.device(self.placement.device), self.placement.offload
        pipeline.vae.to(device)
        if offload == "layers" and device.type != "cpu":
            keep_layers_away(pipeline.transformer, device)
        else:
            pipeline.transformer.to(device)
        if offload == "none":
            for name in ENCODERS:
                if (encoder := pipeline.components.get(name)) is not None:
                    encoder.to(device)


def keep_layers_away(transformer: Any, device: torch.device) -> None:
    """Keep a transformer in main memory, and bring each of its layers to the device while that computes."""
    transformer.enable_group_offload(onload_device=device, offload_type="block_level", num_blocks_per_group=1)

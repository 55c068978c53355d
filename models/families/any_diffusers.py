"""Any other text-to-image checkpoint that diffusers can load, one picture at a time through its own pipeline."""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline

from models.batching.decoding import to_pixels
from models.batching.memory import return_memory
from models.families.base import BatchItem, BatchResult, LoraUse, ModelFamily, OnBatchStep
from models.families.samplers import make_scheduler
from models.families.weights import weights_bytes
from models.hub import fetch_missing


class AnyDiffusers(ModelFamily):
    """A checkpoint run by the pipeline its own files name.

    Samplers work where the checkpoint has a noise schedule of betas; flow-matching checkpoints keep their own
    solver, so their cards should name only the sampler Euler.
    """

    pipelines: ClassVar[Any] = DiffusionPipeline

    def load(self) -> None:
        """Load the pipeline that the checkpoint names, from safetensors files only; it is fetched first if need be."""
        card = self.card
        fetch_missing(card)
        self._pipeline: Any = self.pipelines.from_pretrained(
            str(card.path),
            dtype=getattr(torch, self.placement.dtype),
            use_safetensors=True,
            local_files_only=True,
        ).to(self.placement.device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._schedule = dict(self._pipeline.scheduler.config)

    @property
    def size_bytes(self) -> int:
        """See `ModelFamily`."""
        return weights_bytes(self._pipeline.components.values())

    def infer(self, items: Sequence[BatchItem], lora: LoraUse | None, on_step: OnBatchStep) -> BatchResult:
        """One run of the checkpoint's pipeline for the one item."""
        (item,) = items
        recipe = item.recipe
        if "beta_start" in self._schedule:
            self._pipeline.scheduler = make_scheduler(recipe.sampler, self._schedule, recipe.steps)
        started = time.perf_counter()
        pictures = self._pipeline(
            prompt=recipe.text,
            **({"negative_prompt": recipe.negative_text} if recipe.negative_text else {}),
            width=recipe.width_px,
            height=recipe.height_px,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.cfg_scale,
            generator=torch.Generator("cpu").manual_seed(recipe.seed),
            callback_on_step_end=_step_callback(on_step),
            output_type="np",
        ).images
        return BatchResult(
            np.stack([to_pixels(picture) for picture in pictures]), {"denoise": time.perf_counter() - started}
        )

    def release(self) -> None:
        """Drop the pipeline and return the device's memory."""
        self._pipeline = None
        gc.collect()
        return_memory()


def _step_callback(on_step: OnBatchStep) -> Callable[..., dict[str, Any]]:
    """diffusers' callback at the end of each step, told as steps done and steps to do."""

    def at_step_end(pipeline: Any, step: int, timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, pipeline.num_timesteps)
        return tensors

    return at_step_end

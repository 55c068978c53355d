"""Any other text-to-image checkpoint that diffusers can load, one picture at a time through its own pipeline."""

import gc
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline

from models.adapters.lora_use import LoraUse
from models.denoising.decoding import to_pixels
from models.denoising.item import BatchItem
from models.denoising.memory import return_memory
from models.denoising.samplers import make_scheduler
from models.denoising.weights import weights_bytes
from models.errors import ModelError
from models.families.base import BatchResult, ModelFamily, OnBatchStep
from models.families.encoders import load_encoders
from models.hub import fetch_missing
from models.recipe import Recipe
from models.request import Sampler

_OWN_SAMPLERS = {
    "FlowMatchEulerDiscreteScheduler": Sampler.EULER,
    "FlowMatchHeunDiscreteScheduler": Sampler.HEUN,
    "FlowMatchLCMScheduler": Sampler.LCM,
    "DPMSolverMultistepScheduler": Sampler.DPMPP_2M,
    "UniPCMultistepScheduler": Sampler.UNIPC,
}


class AnyDiffusers(ModelFamily):
    """A checkpoint run by the pipeline its own files name.

    Any sampler works where the checkpoint has a noise schedule of betas. A flow-matching checkpoint keeps its own
    solver, and a request for another one is refused; see `own_sampler`.
    """

    pipelines: ClassVar[Any] = DiffusionPipeline

    def load(self) -> None:
        """Load the pipeline that the checkpoint names, from safetensors files only; it is fetched first if need be."""
        card = self.card
        fetch_missing(card)
        assert card.path
        dtype = getattr(torch, self.placement.dtype)
        self._pipeline: Any = self.pipelines.from_pretrained(
            str(card.path),
            dtype=dtype,
            **load_encoders(card.path, dtype),
            use_safetensors=True,
            local_files_only=True,
        ).to(self.placement.device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._schedule = dict(self._pipeline.scheduler.config)
        self._own_sampler = own_sampler(self._pipeline.scheduler)

    @property
    def size_bytes(self) -> int:
        """See `ModelFamily`."""
        return weights_bytes(self._pipeline.components.values())

    def infer(self, items: Sequence[BatchItem], loras: Sequence[LoraUse], on_step: OnBatchStep) -> BatchResult:
        """One run of the checkpoint's pipeline for the one item; ModelError if it has not its sampler or its size."""
        (item,) = items
        recipe = item.recipe
        self._use_sampler(recipe)
        started = time.perf_counter()
        pictures = self._pipeline(
            prompt=recipe.text,
            **guidance_inputs(self._pipeline, recipe),
            width=recipe.width_px,
            height=recipe.height_px,
            num_inference_steps=recipe.steps,
            generator=torch.Generator("cpu").manual_seed(recipe.seed),
            callback_on_step_end=_step_callback(on_step),
            output_type="np",
        ).images
        height, width = pictures[0].shape[:2]
        if (width, height) != (recipe.width_px, recipe.height_px):
            raise ModelError(
                f"model '{recipe.model}' made {width}×{height} where {recipe.size} was asked for: its sides go in "
                f"larger steps than 8 px. Ask for {width}×{height}."
            )
        return BatchResult(
            np.stack([to_pixels(picture) for picture in pictures]), {"denoise": time.perf_counter() - started}
        )

    def _use_sampler(self, recipe: Recipe) -> None:
        if self._own_sampler is None:
            self._pipeline.scheduler = make_scheduler(recipe.sampler, self._schedule, recipe.steps, recipe.schedule)
        elif recipe.sampler != self._own_sampler:
            raise ModelError(
                f"model '{recipe.model}' is run by its own solver, {self._own_sampler}, and not by {recipe.sampler}. "
                f"Ask for sampler {self._own_sampler}; its card should say so under samplers and defaults."
            )
        elif recipe.schedule:
            raise ModelError(f"model '{recipe.model}' is run by its own solver and takes no schedule. Leave it out.")

    def release(self) -> None:
        """Drop the pipeline and return the device's memory."""
        self._pipeline = None
        gc.collect()
        return_memory()


def guidance_inputs(pipeline: Any, recipe: Recipe) -> dict[str, object]:
    """Guidance and negative prompt as a pipeline takes them.

    Qwen-Image's take the guidance of an undistilled model as `true_cfg_scale`, and with an empty negative prompt ignore
    it; `guidance_scale` they take for distilled ones only.

    Raises:
        ModelError: if the pipeline would leave the negative prompt out.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    negative = {"negative_prompt": recipe.negative_text} if recipe.negative_text else {}
    true_cfg, scale = takes.get("true_cfg_scale"), takes.get("guidance_scale")
    if true_cfg and scale and scale.default is None and not _embeds_guidance(pipeline):
        return {"true_cfg_scale": recipe.cfg_scale, "negative_prompt": recipe.negative_text or " "}
    if negative and ("negative_prompt" not in takes or true_cfg):
        raise ModelError(f"model '{recipe.model}' takes no negative prompt: it would have no effect. Leave it out.")
    return {"guidance_scale": recipe.cfg_scale, **negative}


def _embeds_guidance(pipeline: Any) -> bool:
    """The transformer has guidance as an input: it is distilled."""
    return bool(getattr(getattr(pipeline, "transformer", None), "config", {}).get("guidance_embeds", False))


def own_sampler(scheduler: Any) -> Sampler | None:
    """The one sampler of a checkpoint that keeps its own solver, as flow-matching ones do; None if it takes any.

    A solver that no sampler stands for goes by Euler.
    """
    config = scheduler.config
    is_flow = config.get("prediction_type") == "flow_prediction" or config.get("use_flow_sigmas", False)
    if "beta_start" in config and not is_flow:
        return None
    return _OWN_SAMPLERS.get(type(scheduler).__name__, Sampler.EULER)


def _step_callback(on_step: OnBatchStep) -> Callable[..., dict[str, Any]]:
    """diffusers' callback at the end of each step, told as steps done and steps to do."""

    def at_step_end(pipeline: Any, step: int, timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, pipeline.num_timesteps)
        return tensors

    return at_step_end

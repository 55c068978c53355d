"""Any other checkpoint that diffusers can load, one picture at a time through its own pipeline."""

import gc
import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, DiffusionPipeline

from models.denoising.decoding import to_pixels
from models.denoising.memory import return_memory, weights_bytes
from models.denoising.samplers import make_scheduler
from models.errors import ModelError
from models.families.base import BatchResult, ModelFamily, OnBatchStep
from models.families.encoders import load_encoders
from models.families.parts import load_parts
from models.hub import fetch_missing
from models.image import BatchItem
from models.lora import LoraUse
from models.model_files import weights_variant
from models.model_traits import own_sampler
from models.recipe import Recipe
from models.request import Mode
from models.resolution import MULTIPLE_PX, SizeLimits

_ANY_LENGTH = 100_000
"""Tokenizers without a limit say a number far beyond."""


class AnyDiffusers(ModelFamily):
    """A checkpoint run by the pipeline its own files name.

    Any sampler works where the checkpoint has a noise schedule of betas. A flow-matching checkpoint keeps its own
    solver, and a request for another one is refused.
    """

    pipelines: ClassVar[Any] = DiffusionPipeline

    def load(self) -> None:
        """Load the pipeline that the checkpoint names, from safetensors files only; it is fetched first if need be."""
        card = self.card
        fetch_missing(card)
        assert card.path
        dtype = getattr(torch, self.placement.dtype)
        parts, variant = load_parts(card, card.path, dtype), weights_variant(card.path)
        self._pipeline: Any = self.pipelines.from_pretrained(
            str(card.path),
            dtype=dtype,
            **parts,
            **load_encoders(card.path, dtype, without=parts, variant=variant),
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
        ).to(self.placement.device)
        self._pipeline.set_progress_bar_config(disable=True)
        kind = type(self._pipeline.scheduler).__name__
        self._schedule = {**self._pipeline.scheduler.config, "_class_name": kind}
        self._own_sampler = own_sampler(self._schedule)

    @property
    def size_bytes(self) -> int:
        """See `ModelFamily`."""
        return weights_bytes(self._pipeline.components.values())

    def infer(self, items: Sequence[BatchItem], loras: Sequence[LoraUse], on_step: OnBatchStep) -> BatchResult:
        """One run of the checkpoint's pipeline for the one item; ModelError if it has not its sampler or its size."""
        (item,) = items
        recipe = item.recipe
        pipeline = self._pipeline_of(recipe)
        self._check(pipeline, recipe)
        self._use_sampler(pipeline, recipe)
        started = time.perf_counter()
        pictures = pipeline(
            prompt=recipe.text,
            **guidance_inputs(pipeline, recipe),
            **_picture_inputs(pipeline, item),
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

    def _pipeline_of(self, recipe: Recipe) -> Any:
        """The checkpoint's own, or for an input picture the one that diffusers has for its kind."""
        takes = inspect.signature(self._pipeline.__call__).parameters
        if recipe.mode is Mode.TEXT2IMG:
            if "image" in takes and takes["image"].default is inspect.Parameter.empty:
                raise ModelError(f"model '{recipe.model}' edits pictures: give it one as image_url.")
            return self._pipeline
        if "image" in takes and recipe.mode is Mode.IMG2IMG:
            return self._pipeline
        kind = AutoPipelineForInpainting if recipe.mode is Mode.INPAINT else AutoPipelineForImage2Image
        try:
            pipeline: Any = kind.from_pipe(self._pipeline)
        except ValueError as exc:
            raise ModelError(
                f"model '{recipe.model}' cannot do {recipe.mode}: diffusers has no pipeline for it."
            ) from exc
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _check(self, pipeline: Any, recipe: Recipe) -> None:
        """ModelError for a size or a text that the pipeline would change."""
        limits = SizeLimits(multiple_px=size_multiple(pipeline))
        if problem := limits.problem(recipe.width_px, recipe.height_px, f" for model '{recipe.model}'"):
            raise ModelError(problem)
        longest, tokens = text_limit(pipeline), _tokens(pipeline, recipe.text)
        if longest and tokens > longest:
            raise ModelError(f"the prompt has {tokens} tokens; the maximum is {longest}. Shorten it.")

    def _use_sampler(self, pipeline: Any, recipe: Recipe) -> None:
        if self._own_sampler is None:
            pipeline.scheduler = make_scheduler(recipe.sampler, self._schedule, recipe.steps, recipe.schedule)
        elif recipe.sampler != self._own_sampler:
            raise ModelError(
                f"model '{recipe.model}' is run by its own solver, {self._own_sampler}, and not by {recipe.sampler}. "
                f"Ask for sampler {self._own_sampler}."
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
        ModelError: if the pipeline would leave the negative prompt or the guidance out.
    """
    takes = inspect.signature(pipeline.__call__).parameters
    negative = {"negative_prompt": recipe.negative_text} if recipe.negative_text else {}
    true_cfg, scale = takes.get("true_cfg_scale"), takes.get("guidance_scale")
    if true_cfg and (scale is None or (scale.default is None and not _embeds_guidance(pipeline))):
        return {"true_cfg_scale": recipe.cfg_scale, "negative_prompt": recipe.negative_text or " "}
    if negative and ("negative_prompt" not in takes or true_cfg):
        raise ModelError(f"model '{recipe.model}' takes no negative prompt: it would have no effect. Leave it out.")
    if negative and recipe.cfg_scale <= 1:
        raise ModelError(f"a negative prompt has no effect at cfg_scale {recipe.cfg_scale:g}. Leave it out.")
    if scale is None and recipe.cfg_scale > 1:
        raise ModelError(f"model '{recipe.model}' takes no guidance. Ask for cfg_scale 0.")
    return negative | ({"guidance_scale": recipe.cfg_scale} if scale else {})


def size_multiple(pipeline: Any) -> int:
    """What the sides of its pictures are multiples of; 8 where it does not say."""
    config = getattr(getattr(pipeline, "image_processor", None), "config", {})
    return int(config.get("vae_scale_factor", MULTIPLE_PX)) * int(getattr(pipeline, "patch_size", 1))


def text_limit(pipeline: Any) -> int | None:
    """The tokens after which the pipeline would leave the rest of a text out; None if it does not say."""
    most = inspect.signature(pipeline.__call__).parameters.get("max_sequence_length")
    if most and isinstance(most.default, int):
        return most.default
    longest = getattr(_tokenizer(pipeline), "model_max_length", None)
    return longest if isinstance(longest, int) and longest < _ANY_LENGTH else None


def _tokens(pipeline: Any, text: str) -> int:
    tokenizer = _tokenizer(pipeline)
    return len(tokenizer(text, verbose=False).input_ids) if tokenizer else 0


def _tokenizer(pipeline: Any) -> Any:
    """The one whose text encoder reads the longest texts: the last."""
    named = (getattr(pipeline, name, None) for name in ("tokenizer_3", "tokenizer_2", "tokenizer"))
    return next((tokenizer for tokenizer in named if tokenizer is not None), None)


def _picture_inputs(pipeline: Any, item: BatchItem) -> dict[str, object]:
    """The input pictures as a pipeline takes them; its area too, where it would choose one of its own."""
    takes, recipe = inspect.signature(pipeline.__call__).parameters, item.recipe
    given = {"image": item.image, "mask_image": item.mask, "strength": recipe.strength}
    inputs: dict[str, object] = {name: value for name, value in given.items() if name in takes and value is not None}
    return inputs | ({"max_area": recipe.width_px * recipe.height_px} if "max_area" in takes else {})


def _embeds_guidance(pipeline: Any) -> bool:
    """The transformer has guidance as an input: it is distilled."""
    return bool(getattr(getattr(pipeline, "transformer", None), "config", {}).get("guidance_embeds", False))


def _step_callback(on_step: OnBatchStep) -> Callable[..., dict[str, Any]]:
    """diffusers' callback at the end of each step, told as steps done and steps to do."""

    def at_step_end(pipeline: Any, step: int, timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, pipeline.num_timesteps)
        return tensors

    return at_step_end

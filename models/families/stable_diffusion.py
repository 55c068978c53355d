"""Stable Diffusion 1.x and 2.x, with ControlNet, through diffusers' own pipelines."""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from numpy.typing import NDArray

from models.errors import ModelError, ModelLoadError
from models.families.base import BatchItem, BatchResult, LoraUse, ModelFamily, OnBatchStep
from models.families.samplers import make_scheduler
from models.recipe import Recipe
from models.request import Mode

if TYPE_CHECKING:
    from models.placement import Placement
    from models.registry import ModelCard

Embeddings = dict[str, torch.Tensor]


class StableDiffusion(ModelFamily):
    """A Stable Diffusion checkpoint: one set of weights, one diffusers pipeline per mode over it."""

    pipelines: ClassVar[Mapping[Mode, Any]] = {
        Mode.TEXT2IMG: StableDiffusionPipeline,
        Mode.IMG2IMG: StableDiffusionImg2ImgPipeline,
        Mode.INPAINT: StableDiffusionInpaintPipeline,
        Mode.CONTROLNET: StableDiffusionControlNetPipeline,
    }
    pipeline_options: ClassVar[Mapping[str, object]] = {"safety_checker": None, "requires_safety_checker": False}
    controlnets: ClassVar[Any] = ControlNetModel
    upcasts_vae: ClassVar[bool] = False

    def __init__(self, card: "ModelCard", placement: "Placement") -> None:
        super().__init__(card, placement)
        self._modes: dict[Mode, Any] = {}
        self._controlnet: Any = None
        self._schedule: dict[str, Any] = {}
        self._adapter = ""

    def load(self) -> None:
        """Load weights and controlnet to the device, from safetensors files only."""
        card, dtype = self.card, getattr(torch, self.placement.dtype)
        try:
            base = self.pipelines[Mode.TEXT2IMG].from_pretrained(
                str(card.path or card.source), **self._source(card.revision, card.path), **self.pipeline_options
            )
            self._modes = {Mode.TEXT2IMG: base.to(self.placement.device, dtype)}
            self._controlnet = self._load_controlnet() if Mode.CONTROLNET in card.modes else None
        except Exception as exc:  # hub, files and weights fail in many ways; all of them are this model's
            self.release()
            raise ModelLoadError(f"model '{card.name}' cannot be loaded from {card.source}: {exc}") from exc
        base.vae.enable_slicing()
        self._schedule = dict(base.scheduler.config)

    def infer(self, items: Sequence[BatchItem], lora: LoraUse | None, on_step: OnBatchStep) -> BatchResult:
        """One run of diffusers' pipeline with a generator per picture."""
        self._use_lora(lora)
        first = items[0].recipe
        pipeline = self._pipeline(first.mode)
        pipeline.scheduler = make_scheduler(first.sampler, self._schedule, first.steps)
        clock = [time.perf_counter()]
        with torch.no_grad():
            embeddings = self._embed([item.recipe for item in items])
            clock.append(time.perf_counter())
            latents = self._denoise(pipeline, items, embeddings, on_step)
            clock.append(time.perf_counter())
            pixels = self._decode(latents)
        clock.append(time.perf_counter())
        stages = zip(("text", "denoise", "decode"), np.diff(clock).tolist(), strict=True)
        return BatchResult(pixels, dict(stages))

    def release(self) -> None:
        """Drop every reference to the weights and return the device's memory."""
        self._modes = {}
        self._controlnet = None
        gc.collect()
        if self.placement.device != "cpu":
            torch.cuda.empty_cache()

    def _source(self, revision: str, path: object) -> dict[str, object]:
        return {
            "dtype": getattr(torch, self.placement.dtype),
            "use_safetensors": True,
            "local_files_only": path is not None,
            "revision": revision or None,
        }

    def _load_controlnet(self) -> Any:
        card = self.card
        source = self._source(card.controlnet_revision, card.controlnet_path)
        controlnet = self.controlnets.from_pretrained(str(card.controlnet_path or card.controlnet), **source)
        return controlnet.to(self.placement.device)

    def _pipeline(self, mode: Mode) -> Any:
        """The pipeline of a mode, made at first use over the same weights."""
        if mode not in self._modes:
            parts = dict(self._modes[Mode.TEXT2IMG].components)
            if mode is Mode.CONTROLNET:
                parts["controlnet"] = self._controlnet
            options = {name: value for name, value in self.pipeline_options.items() if name not in parts}
            self._modes[mode] = self.pipelines[mode](**parts, **options)
        self._modes[mode].set_progress_bar_config(disable=True)
        return self._modes[mode]

    def _use_lora(self, lora: LoraUse | None) -> None:
        """Have exactly this LoRA active, at its weight; without one the weights are untouched."""
        pipeline = self._modes[Mode.TEXT2IMG]
        if self._adapter and (lora is None or lora.adapter != self._adapter):
            pipeline.unload_lora_weights()
            self._adapter = ""
        if lora is None:
            return
        if not self._adapter:
            self._load_lora(pipeline, lora)
        pipeline.set_adapters([lora.adapter], [lora.weight])

    def _load_lora(self, pipeline: Any, lora: LoraUse) -> None:
        try:
            pipeline.load_lora_weights(
                str(lora.path.parent),
                weight_name=lora.path.name,
                adapter_name=lora.adapter,
                use_safetensors=True,
                local_files_only=True,
            )
            if not pipeline.get_list_adapters():
                raise ModelError("none of its weights belongs to this model")
        except Exception as exc:
            pipeline.unload_lora_weights()
            raise ModelLoadError(f"LoRA '{lora.path.name}' does not fit model '{self.card.name}': {exc}") from exc
        self._adapter = lora.adapter

    def _embed(self, recipes: Sequence[Recipe]) -> Embeddings:
        """Each prompt on its own, so that no neighbour can change it; then one batch."""
        each = [self._embed_one(recipe) for recipe in recipes]
        return {name: torch.cat([one[name] for one in each]) for name in each[0]}

    def _embed_one(self, recipe: Recipe) -> Embeddings:
        guided = recipe.cfg_scale > 1
        prompt, negative = self._modes[Mode.TEXT2IMG].encode_prompt(
            recipe.text, self.placement.device, 1, guided, negative_prompt=recipe.negative_text
        )
        return {"prompt_embeds": prompt} | ({"negative_prompt_embeds": negative} if guided else {})

    def _denoise(
        self,
        pipeline: Any,
        items: Sequence[BatchItem],
        embeddings: Embeddings,
        on_step: OnBatchStep,
    ) -> torch.Tensor:
        first = items[0].recipe
        output: torch.Tensor = pipeline(
            **embeddings,
            **_inputs(items),
            num_inference_steps=first.steps,
            guidance_scale=first.cfg_scale,
            generator=[torch.Generator("cpu").manual_seed(item.recipe.seed) for item in items],
            callback_on_step_end=step_callback(on_step),
            output_type="latent",
        ).images
        return output

    def _decode(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        pipeline = self._modes[Mode.TEXT2IMG]
        vae = pipeline.vae
        if self.upcasts_vae and vae.config.force_upcast:
            vae.float()
        latents = _unscaled(latents.to(vae.dtype), vae.config)
        pictures = vae.decode(latents, return_dict=False)[0]
        return to_pixels(pipeline.image_processor.postprocess(pictures.float(), output_type="np"))


def step_callback(on_step: OnBatchStep) -> Callable[..., dict[str, Any]]:
    """diffusers' callback at the end of each step, told as steps done and steps to do."""

    def at_step_end(pipeline: Any, step: int, timestep: object, tensors: dict[str, Any]) -> dict[str, Any]:
        on_step(step + 1, pipeline.num_timesteps)
        return tensors

    return at_step_end


def to_pixels(pictures: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pictures of range [0, 1] as uint8; ModelError if the model gave numbers that are none."""
    if not np.isfinite(pictures).all():
        raise ModelError("the model gave values that are not numbers (NaN or infinite); try dtype float32")
    return (pictures * 255).round().astype(np.uint8)


def _inputs(items: Sequence[BatchItem]) -> dict[str, object]:
    """What a mode's pipeline takes beside prompts and schedule."""
    recipe = items[0].recipe
    size: dict[str, object] = {"width": recipe.width_px, "height": recipe.height_px}
    # At least one step remains, whatever the strength; the margin keeps int(steps × strength) from rounding to 0.
    strength = max(recipe.strength or 1.0, (1 + 1e-6) / recipe.steps)
    match recipe.mode:
        case Mode.TEXT2IMG:
            return size
        case Mode.IMG2IMG:
            return {"image": [item.image for item in items], "strength": min(strength, 1.0)}
        case Mode.INPAINT:
            masked = {"image": [item.image for item in items], "mask_image": [item.mask for item in items]}
            return {**size, **masked, "strength": min(strength, 1.0)}
        case Mode.CONTROLNET:
            return {**size, "image": [item.control for item in items]}


def _unscaled(latents: torch.Tensor, config: Any) -> torch.Tensor:
    latents = latents / float(config.scaling_factor)
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        return latents
    shape = (1, len(mean), 1, 1)
    return latents * latents.new_tensor(std).view(shape) + latents.new_tensor(mean).view(shape)

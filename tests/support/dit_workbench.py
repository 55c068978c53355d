"""Diffusion transformers run by hand, and diffusers' own pipelines to compare them with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from diffusers import (
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    QwenImageImg2ImgPipeline,
    QwenImageInpaintPipeline,
    QwenImagePipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
    ZImageImg2ImgPipeline,
    ZImageInpaintPipeline,
    ZImagePipeline,
)

from models.denoising.dit_model import DiTModel, unpacked
from models.families.flux import FluxModel
from models.families.qwen_image import QwenImageModel
from models.families.sd3 import SD3Model
from models.families.z_image import ZImageModel
from models.image import BatchItem
from models.recipe import Recipe
from models.request import Mode, Sampler
from tests.support.model_factory import build_random_flux
from tests.support.transformer_factory import build_random_qwen_image, build_random_sd3, build_random_z_image
from tests.support.workbench import Workbench


def _by_input(recipe: Recipe, options: Mapping[str, Any]) -> dict[str, object]:
    return {"guidance_scale": recipe.cfg_scale}


def _by_negative(recipe: Recipe, options: Mapping[str, Any]) -> dict[str, object]:
    # Z-Image guides from 0 on, where here no guidance is asked for up to 1.
    scale = recipe.cfg_scale if recipe.cfg_scale > 1 else 0.0
    return {"guidance_scale": scale, "negative_prompt": recipe.negative_text or None}


def _qwen(recipe: Recipe, options: Mapping[str, Any]) -> dict[str, object]:
    return {"true_cfg_scale": recipe.cfg_scale, "negative_prompt": recipe.negative_text or " "}


def _flux_true_cfg(recipe: Recipe, options: Mapping[str, Any]) -> dict[str, object]:
    true = {"true_cfg_scale": recipe.cfg_scale, "negative_prompt": recipe.negative_text}
    return {"guidance_scale": options["guidance"], **true}


class Kind(NamedTuple):
    """One family and its card's options, and how diffusers runs it."""

    build: Callable[[Path], None]
    model: type[DiTModel]
    pipelines: tuple[Any, Any, Any]
    guidance: Callable[[Recipe, Mapping[str, Any]], dict[str, object]]
    guided: bool = True
    passes: Sequence[int] = (3, 1)
    options: Mapping[str, Any] = MappingProxyType({})


def _build_dev(folder: Path) -> None:
    build_random_flux(folder, guidance_embeds=True)


_FLUX = (FluxPipeline, FluxImg2ImgPipeline, FluxInpaintPipeline)
_SD3 = (StableDiffusion3Pipeline, StableDiffusion3Img2ImgPipeline, StableDiffusion3InpaintPipeline)
_QWEN = (QwenImagePipeline, QwenImageImg2ImgPipeline, QwenImageInpaintPipeline)
_Z_IMAGE = (ZImagePipeline, ZImageImg2ImgPipeline, ZImageInpaintPipeline)
KINDS = {
    "sd3": Kind(build_random_sd3, SD3Model, _SD3, _by_negative),
    "sd3_without_t5": Kind(lambda folder: build_random_sd3(folder, with_t5=False), SD3Model, _SD3, _by_negative),
    "qwen_image": Kind(build_random_qwen_image, QwenImageModel, _QWEN, _qwen),
    "z_image": Kind(build_random_z_image, ZImageModel, _Z_IMAGE, _by_negative),
    "schnell": Kind(build_random_flux, FluxModel, _FLUX, _by_input, guided=False),
    "dev": Kind(_build_dev, FluxModel, _FLUX, _by_input, guided=False),
    "dev_true_cfg": Kind(
        _build_dev,
        FluxModel,
        _FLUX,
        _flux_true_cfg,
        options={"true_cfg": True, "guidance": 3.5},
    ),
}
MODES = (Mode.TEXT2IMG, Mode.IMG2IMG, Mode.INPAINT)


class DiTWorkbench(Workbench):
    """Random models of every family, loaded once."""

    def __init__(self, folder: Path) -> None:
        self.models, self.pipelines = {}, {}
        for name, kind in KINDS.items():
            kind.build(folder / name)
            left_out = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3_without_t5" else {}
            pipeline = kind.pipelines[0].from_pretrained(folder / name, dtype=torch.float32, **left_out)
            pipeline.set_progress_bar_config(disable=True)
            self.pipelines[name] = pipeline
            self.models[name] = kind.model(pipeline, kind.options)

    @torch.no_grad()
    def reference(self, item: BatchItem) -> torch.Tensor:
        """The final latents (1, C, h, w) that diffusers' own pipeline gives."""
        recipe = item.recipe
        kind = KINDS[recipe.model]
        pipeline = kind.pipelines[MODES.index(recipe.mode)](**self._parts(recipe))
        pipeline.set_progress_bar_config(disable=True)
        inputs: dict[str, object] = {"width": recipe.width_px, "height": recipe.height_px}
        if recipe.mode is not Mode.TEXT2IMG:
            inputs |= {"image": item.image, "strength": recipe.strength}
        if recipe.mode is Mode.INPAINT:
            inputs["mask_image"] = item.mask
        latents = pipeline(
            recipe.text,
            **kind.guidance(recipe, kind.options),
            num_inference_steps=recipe.steps,
            generator=torch.Generator().manual_seed(recipe.seed),
            output_type="latent",
            **inputs,
        ).images
        if latents.ndim == 3:
            return unpacked(latents, recipe.height_px // 8, recipe.width_px // 8)
        return latents

    def _parts(self, recipe: Recipe) -> dict[str, Any]:
        parts = dict(self.pipelines[recipe.model].components)
        if recipe.sampler is not Sampler.EULER:
            parts["scheduler"] = _solver(self.models[recipe.model], recipe)
        return parts


def _solver(model: DiTModel, recipe: Recipe) -> Any:
    """diffusers' solver with our noise levels, which its pipelines would give to Euler alone."""
    item = BatchItem(recipe.model_copy(update={"mode": Mode.TEXT2IMG, "strength": None}))
    scheduler = model.start(item, "").sampling.scheduler

    def keep(count: int = 0, device: Any = None, sigmas: Any = None, mu: Any = None) -> None:
        scheduler._step_index = scheduler._begin_index = None

    scheduler.set_timesteps = keep
    scheduler.scale_noise = _scaled_noise(scheduler)
    return scheduler


def _scaled_noise(scheduler: Any) -> Callable[..., torch.Tensor]:
    def scale_noise(sample: torch.Tensor, timestep: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        place = int((scheduler.timesteps == timestep.flatten()[0]).nonzero()[0])
        sigma = scheduler.sigmas[place]
        return sigma * noise + (1.0 - sigma) * sample

    return scale_noise

"""Stable Diffusion XL through diffusers' own pipelines."""

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import (
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
)

from models.families.stable_diffusion import Embeddings, StableDiffusion
from models.recipe import Recipe
from models.request import Mode


class StableDiffusionXL(StableDiffusion):
    """A Stable Diffusion XL checkpoint: two text encoders, a VAE that needs float32."""

    pipelines: ClassVar[Mapping[Mode, Any]] = {
        Mode.TEXT2IMG: StableDiffusionXLPipeline,
        Mode.IMG2IMG: StableDiffusionXLImg2ImgPipeline,
        Mode.INPAINT: StableDiffusionXLInpaintPipeline,
        Mode.CONTROLNET: StableDiffusionXLControlNetPipeline,
    }
    pipeline_options: ClassVar[Mapping[str, object]] = {"add_watermarker": False}
    upcasts_vae: ClassVar[bool] = True

    def _embed_one(self, recipe: Recipe) -> Embeddings:
        guided = recipe.cfg_scale > 1
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        values = self._modes[Mode.TEXT2IMG].encode_prompt(
            recipe.text,
            device=self.placement.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
            # None, not an empty text: SDXL was trained with zeros for "no negative prompt".
            negative_prompt=recipe.negative_text or None,
        )
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

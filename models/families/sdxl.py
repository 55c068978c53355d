"""Stable Diffusion XL: two text encoders, sizes as an input, a VAE that needs float32."""

from typing import Any, ClassVar

from diffusers import StableDiffusionXLPipeline

from models.families.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """A Stable Diffusion XL checkpoint in any mode."""

    pipelines: ClassVar[Any] = StableDiffusionXLPipeline
    pipeline_options: ClassVar[dict[str, object]] = {"add_watermarker": False}
    upcasts_vae: ClassVar[bool] = True

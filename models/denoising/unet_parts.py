"""The loaded parts of a latent diffusion model with a UNet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from models.denoising.prompts import PromptEncoder
from models.denoising.tiles import decode_in_tiles
from models.noise_schedule import NoiseSchedule
from models.recipe import Recipe
from models.sampler import Schedule, fitting

_FEW_STEPS = 8
"""What distilled models (Turbo, Lightning, Hyper) are made for at most; no others make a picture of so few."""


class UNetParts:
    """UNet, VAE, text encoders and ControlNets of one checkpoint (Stable Diffusion 1.x, 2.x or XL).

    Args:
        pipeline: diffusers' text-to-image pipeline that holds the parts.
        controlnets: by the names that requests choose them by.
        upcasts_vae: the VAE's configuration may ask for float32, as SDXL's does: it overflows in float16, and in
            nothing else.
    Raises:
        ModelLoadError: if its scheduler holds no noise schedule that the samplers can use.
    """

    def __init__(self, pipeline: Any, controlnets: Mapping[str, Any] = {}, *, upcasts_vae: bool = False) -> None:
        self.unet: Any = pipeline.unet
        self.vae: Any = pipeline.vae
        self.controlnets = dict(controlnets)
        self.prompts = PromptEncoder(pipeline)
        self.schedule: Mapping[str, Any] = dict(pipeline.scheduler.config)
        self._noise = NoiseSchedule.of(self.schedule)
        self.is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        self.dtype: torch.dtype = pipeline.unet.dtype
        self.device: torch.device = pipeline.unet.device
        self.latents_dtype = latents_dtype(self.dtype, self.device)
        if upcasts_vae and self.vae.config.force_upcast and self.dtype == torch.float16:
            self.vae.float()

    def layout(self, recipe: Recipe) -> Schedule | None:
        """How a request's steps are laid out, where it or the model says so.

        Models of few steps that do not say what they are get steps from pure noise on: the published schedule of
        Stable Diffusion XL, which is for long runs, would start a run of one step at the cleanest level.
        """
        is_short = self.is_xl and recipe.steps <= _FEW_STEPS and self._noise.spacing is Schedule.LEADING
        return recipe.schedule or fitting(Schedule.TRAILING if is_short else None, recipe.sampler)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents; the UNet may take more (9 for an inpainting UNet)."""
        return int(self.vae.config.latent_channels)

    @property
    def takes_mask(self) -> bool:
        """The UNet is one made for inpainting: it takes the mask and the masked picture as further channels."""
        return int(self.unet.config.in_channels) == 2 * self.latent_channels + 1

    @property
    def guidance_is_embedded(self) -> bool:
        """The guidance is an input of the UNet (distilled models), not a second pass."""
        return self.unet.config.time_cond_proj_dim is not None

    @property
    def px_per_latent(self) -> int:
        """Pixels of a picture to one value of its latents, along each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def latent_shape(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """(1, C, H, W) of the latents of one picture."""
        return (1, self.latent_channels, height_px // self.px_per_latent, width_px // self.px_per_latent)

    def encode(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Scaled latents of a picture (1, 3, H, W) of range [-1, 1], drawn from the VAE's distribution."""
        drawn = self.vae.encode(pixels.to(self.device, self.vae.dtype)).latent_dist.sample(generator)
        return drawn.to(self.latents_dtype)  # type: ignore[no-any-return]

    def decode(self, latents: torch.Tensor, tile: int | None = None) -> NDArray[np.float32]:
        """Latents (1, C, h, w) as a picture (H, W, 3).

        Args:
            tile: see `decode_in_tiles`: less memory, nearly the same pixels.
        Returns:
            range [0, 1] but for overshoots; not finite where the model's numbers were not.
        """
        unscaled = self.unscaled_latents(latents.to(self.vae.dtype))
        if tile is None:
            picture = self.vae.decode(unscaled, return_dict=False)[0]
        else:
            picture = decode_in_tiles(self.vae, unscaled, tile, self.px_per_latent)
        return (picture.float() * 0.5 + 0.5)[0].permute(1, 2, 0).cpu().numpy()  # type: ignore[no-any-return]

    def unscaled_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """The UNet's latents as the VAE takes them."""
        latents = latents / float(self.vae.config.scaling_factor)
        mean, std = self.vae.config.get("latents_mean"), self.vae.config.get("latents_std")
        if mean is None or std is None:
            return latents
        shape = (1, len(mean), 1, 1)
        return latents * latents.new_tensor(std).view(shape) + latents.new_tensor(mean).view(shape)

    def scaled_latents(self, latents: torch.Tensor, *, whitened: bool) -> torch.Tensor:
        """The VAE's latents as the UNet takes them; `whitened` where the pipeline minds the VAE's mean and spread."""
        mean, std = self.vae.config.get("latents_mean"), self.vae.config.get("latents_std")
        factor = float(self.vae.config.scaling_factor)
        if not whitened or mean is None or std is None:
            return latents * factor
        shape = (1, len(mean), 1, 1)
        return (latents - latents.new_tensor(mean).view(shape)) * factor / latents.new_tensor(std).view(shape)


def latents_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What latents are denoised in: on a CPU not in bfloat16, in whose 8 bits small steps are lost."""
    return torch.float32 if device.type == "cpu" and dtype == torch.bfloat16 else dtype


def picture_tensor(image: Image) -> torch.Tensor:
    """A picture (L or RGB) as float32 (1, C, H, W) of range [0, 1]."""
    values = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255.0)
    return values.reshape(image.height, image.width, -1).permute(2, 0, 1)[None]

"""How a request of a model with a UNet begins."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from models.denoising.sampling import Sampling
from models.denoising.slot import Kept, Slot
from models.denoising.texts import Text
from models.denoising.unet_parts import UNetParts, picture_tensor
from models.errors import ModelError
from models.image import BatchItem
from models.recipe import Recipe
from models.request import Mode


@dataclass(frozen=True, eq=False)
class Conditions:
    """The rows that one request puts into each UNet pass: without guidance 1, with it 2, the negative prompt first.

    Attributes:
        states: (rows, tokens, width) of the texts.
        pooled: (rows, width), SDXL only.
        sizes: (rows, 6), SDXL's original size, crop and target size in px; SDXL only.
        guidance: (rows, width), models with embedded guidance only.
        controls: (1, 3, H, W) of range [0, 1], for each control picture in the recipe's order.
        masked: (rows, 1 + C, h, w), mask and masked latents; inpainting UNets only.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None = None
    sizes: torch.Tensor | None = None
    guidance: torch.Tensor | None = None
    masked: torch.Tensor | None = None
    controls: Sequence[torch.Tensor] = ()

    @property
    def rows(self) -> int:
        """1 or 2."""
        return self.states.shape[0]

    def only(self, row: int) -> "Conditions":
        """One of the rows."""
        values = {name: getattr(self, name) for name in BY_ROW}
        taken = {name: value[row : row + 1] for name, value in values.items() if value is not None}
        return Conditions(**taken, controls=self.controls)


BY_ROW = tuple(field.name for field in fields(Conditions) if field.name != "controls")
"""The fields of `Conditions` that have a value for each row."""


def start_slot(model: UNetParts, item: BatchItem, weights: object) -> Slot:
    """A request ready for its first step.

    Args:
        weights: names the LoRA in use; see `PromptEncoder.encode_pair`.
    Raises:
        ModelError: if the model cannot do it.
    """
    recipe = item.recipe
    if model.takes_mask and recipe.mode is not Mode.INPAINT:
        raise ModelError(f"model '{recipe.model}' is made for inpainting and cannot do {recipe.mode}.")
    sampling = Sampling(recipe, model.schedule, model.layout(recipe))
    texts = _texts(model, recipe, weights)
    latents, kept, masked = _latents(model, item, sampling)
    return Slot(item, sampling, _conditions(model, item, texts, masked), latents, kept)


def _texts(model: UNetParts, recipe: Recipe, weights: object) -> Sequence[Text]:
    if model.guidance_is_embedded and recipe.negative_text.strip():
        raise ModelError(f"model '{recipe.model}' takes no negative prompt: it would have no effect. Leave it out.")
    if recipe.cfg_scale <= 1 or model.guidance_is_embedded:
        return (model.prompts.encode(recipe.text, weights),)
    positive, negative = model.prompts.encode_pair(recipe.text, recipe.negative_text, weights)
    return negative, positive


def _conditions(model: UNetParts, item: BatchItem, texts: Sequence[Text], masked: torch.Tensor | None) -> Conditions:
    recipe, rows = item.recipe, len(texts)
    side = (recipe.height_px, recipe.width_px)
    like = texts[0].states
    pooled = [text.pooled for text in texts if text.pooled is not None]
    return Conditions(
        states=torch.cat([text.states for text in texts]),
        pooled=torch.cat(pooled) if pooled else None,
        sizes=like.new_tensor([(*side, 0, 0, *side)] * rows) if model.is_xl else None,
        guidance=_guidance(model, recipe.cfg_scale) if model.guidance_is_embedded else None,
        masked=None if masked is None else masked.expand(rows, -1, -1, -1),
        controls=[picture_tensor(control).to(model.device, model.dtype) for control in item.controls],
    )


def _guidance(model: UNetParts, cfg_scale: float) -> torch.Tensor:
    """The guidance as sines and cosines (1, width), as the UNet was distilled with (arXiv:2310.04378, appendix)."""
    width = int(model.unet.config.time_cond_proj_dim)
    frequencies = torch.exp(torch.arange(width // 2) * -(torch.log(torch.tensor(10000.0)) / (width // 2 - 1)))
    angles = torch.tensor(cfg_scale - 1) * 1000.0 * frequencies
    waves = torch.cat([angles.sin(), angles.cos()])
    return torch.nn.functional.pad(waves, (0, width % 2))[None].to(model.device, model.dtype)


def _latents(
    model: UNetParts, item: BatchItem, sampling: Sampling
) -> tuple[torch.Tensor, Kept | None, torch.Tensor | None]:
    """First latents, what to keep, and the inpainting UNet's further channels.

    The random draws are those of diffusers' pipelines, in their order: of the picture's latents, of the noise, of the
    masked picture's latents.
    """
    recipe = item.recipe
    shape = model.latent_shape(recipe.width_px, recipe.height_px)
    if item.image is None:
        noise = sampling.noise(shape, model.latents_dtype).to(model.device)
        return noise * sampling.scheduler.init_noise_sigma, None, None
    starts_from_noise = item.mask is not None and sampling.strength == 1.0
    whitened = model.is_xl and item.mask is None
    pixels = picture_tensor(item.image) * 2.0 - 1.0
    given = None
    if not (starts_from_noise and model.takes_mask):
        given = model.scaled_latents(model.encode(pixels, sampling.generator), whitened=whitened)
    noise = sampling.noise(shape, model.latents_dtype).to(model.device)
    if starts_from_noise or given is None:
        latents = noise * sampling.scheduler.init_noise_sigma
    else:
        latents = sampling.add_noise(given, noise, 0)
    if item.mask is None:
        return latents, None, None
    mask, masked = _mask(model, item, pixels, sampling)
    if model.takes_mask or given is None:
        return latents, None, masked
    return latents, Kept(mask, given, noise), None


def _mask(
    model: UNetParts, item: BatchItem, pixels: torch.Tensor, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The mask at the size of the latents (1, 1, h, w), and for an inpainting UNet also its further channels."""
    assert item.mask
    recipe = item.recipe
    shape = model.latent_shape(recipe.width_px, recipe.height_px)
    wanted = (picture_tensor(item.mask) >= 0.5).float()
    # The largest of what falls on a latent: taking one pixel of each block would lose strokes that miss all of those.
    mask = torch.nn.functional.max_pool2d(wanted, model.px_per_latent).to(model.device, model.latents_dtype)
    if not model.takes_mask:
        # diffusers encodes the masked picture for every UNet; of that, only the random draw has an effect here.
        sampling.noise(shape, model.vae.dtype)
        return mask, None
    hidden = model.encode(pixels * (wanted < 0.5), sampling.generator)
    return mask, torch.cat([mask, model.scaled_latents(hidden, whitened=False)], dim=1)

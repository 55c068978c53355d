"""Diffusion transformers in the denoising loop: what those of all families have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.denoising.batch_sizes import BatchSizes
from models.denoising.flow_sampling import FlowSampling, Sigmas, dynamic_shift, even_sigmas
from models.denoising.slot import Kept, Slot
from models.denoising.texts import RememberedTexts, Text
from models.denoising.tiles import decode_in_tiles
from models.denoising.unet_parts import latents_dtype, picture_tensor
from models.errors import ModelError
from models.image import BatchItem
from models.recipe import Recipe

PX_PER_LATENT = 8
REMEMBERED_BYTES = 256 << 20
"""Of all encoded texts that are kept: 64 of Flux.1's in half precision."""
_MOST_WASTE = 0.25
"""Of the tokens of any row: pictures of different sizes share a pass only where less than this stays empty."""


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a pass.

    Attributes:
        latents: (1, C, h, w), in the network's number type.
        time: of its own schedule, 1000 for pure noise.
    """

    latents: torch.Tensor
    time: float
    text: Text
    guidance: float


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a request adds to its latents in each pass: its texts, the negative one first, and its embedded guidance."""

    texts: tuple[Text, ...]
    guidance: float

    @property
    def rows(self) -> int:
        """1 or 2."""
        return len(self.texts)


class DiTModel(ABC):
    """See `StepModel`. A family says how texts are encoded and what one pass takes and gives.

    Args:
        pipeline: diffusers' text-to-image pipeline that holds the parts.
        options: of the card: `true_cfg` runs a model of embedded guidance with a second, negative prompt, guided by
            the request's cfg_scale; `guidance` is what is embedded then.
    """

    max_tokens: int = 512
    mixes_sizes: ClassVar[bool] = False
    noise_dtype: ClassVar[torch.dtype | None] = None

    def __init__(self, pipeline: Any, options: Mapping[str, Any]) -> None:
        self.pipeline = pipeline
        self.transformer: Any = pipeline.transformer
        self.vae: Any = pipeline.vae
        self.schedule: Mapping[str, Any] = dict(pipeline.scheduler.config)
        self.options = options
        self.dtype: torch.dtype = pipeline.transformer.dtype
        self.device: torch.device = pipeline.vae.device
        self.latents_dtype = latents_dtype(self.dtype, self.device)
        self.px_per_latent = PX_PER_LATENT
        self._texts = RememberedTexts(REMEMBERED_BYTES)

    @abstractmethod
    def encode_text(self, text: str) -> Text:
        """The text as the family's pipeline encodes it, with the encoders on the device."""

    @abstractmethod
    def outputs(self, rows: Sequence[Row]) -> Iterable[torch.Tensor]:
        """The transformer's output (1, C, h, w) for each of the rows, in one pass."""

    def text_tokens(self, text: str) -> int:
        """How many of `max_tokens` a text takes."""
        return len(self.pipeline.tokenizer(text, verbose=False).input_ids)

    def is_guided(self, recipe: Recipe) -> bool:
        """Whether the negative prompt gets a row of its own."""
        return recipe.cfg_scale > 1

    def sigmas(self, steps: int) -> Sigmas:
        """See `FlowSampling`."""
        return even_sigmas(steps)

    def negative_text(self, given: str) -> str:
        """The negative prompt of a request with guidance."""
        return given

    def canvas(self, sides: Sequence[tuple[int, int]]) -> int:
        """Places that each row of a pass of these pictures (height, width) has, where sizes are mixed."""
        return max(height for height, _ in sides) * max(width for _, width in sides)

    def embedded_guidance(self, rows: Sequence[Row]) -> torch.Tensor | None:
        """The guidance of each row, where the transformer takes it."""
        if not self.transformer.config.guidance_embeds:
            return None
        return torch.tensor([row.guidance for row in rows], dtype=torch.float32, device=self.device)

    def start(self, item: BatchItem, weights: object) -> Slot:
        """See `StepModel`."""
        recipe = item.recipe
        tokens = recipe.width_px * recipe.height_px // (2 * PX_PER_LATENT) ** 2
        mu = dynamic_shift(tokens, self.schedule)
        sampling = FlowSampling(recipe, self.schedule, self.sigmas(recipe.steps), mu)
        texts = (self.negative_text(recipe.negative_text), recipe.text) if self.is_guided(recipe) else (recipe.text,)
        encoded = tuple(self._texts.of((text, weights), partial(self._encoded, text)) for text in texts)
        conditions = Conditions(encoded, self._embedded(recipe))
        latents, kept = self._latents(item, sampling)
        return Slot(item, sampling, conditions, latents, kept)

    def parts(self, slots: Sequence[Slot]) -> Iterable[list[Slot]]:
        """See `StepModel`; sizes are mixed where the family can and little is wasted."""
        group: list[Slot] = []
        for slot in sorted(slots, key=lambda slot: slot.latents.shape, reverse=True):
            if group and not self._fit([*group, slot]):
                yield group
                group = []
            group.append(slot)
        if group:
            yield group

    def _fit(self, slots: Sequence[Slot]) -> bool:
        sides = [(slot.latents.shape[2], slot.latents.shape[3]) for slot in slots]
        if not self.mixes_sizes:
            return len(set(sides)) == 1
        return min(height * width for height, width in sides) > (1 - _MOST_WASTE) * self.canvas(sides)

    def predict(self, slots: Sequence[Slot], sizes: BatchSizes, row: int | None = None) -> Sequence[torch.Tensor]:
        """See `StepModel`; passes are not filled up."""
        rows = [list(islice(self._rows(slot), row, None if row is None else row + 1)) for slot in slots]
        outputs = iter(self.outputs([one for of_slot in rows for one in of_slot]))
        joined = (torch.cat(list(islice(outputs, len(of_slot)))) for of_slot in rows)
        pairs = zip(slots, joined, strict=True)
        return [output.to(torch.promote_types(output.dtype, slot.latents.dtype)) for slot, output in pairs]

    def _rows(self, slot: Slot) -> Iterator[Row]:
        latents, time = slot.sampling.scaled(slot.latents).to(self.dtype), slot.sampling.time
        for text in slot.conditions.texts:
            yield Row(latents, time, text, slot.conditions.guidance)

    def guided(self, slot: Slot, prediction: torch.Tensor) -> torch.Tensor:
        """See `StepModel`."""
        if len(prediction) == 1:
            return prediction
        without, given = prediction.chunk(2)
        return without + slot.recipe.cfg_scale * (given - without)

    def decode(self, latents: torch.Tensor, tile: int | None = None) -> NDArray[np.float32]:
        """See `StepModel`."""
        latents = self.unscaled_latents(latents.to(self.vae.dtype))
        picture = self.decoded(latents, tile)
        return (picture.float() * 0.5 + 0.5)[0].permute(1, 2, 0).cpu().numpy()

    def decoded(self, latents: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        """What the VAE makes of its latents (1, C, h, w), perhaps in tiles of so many: (1, 3, H, W)."""
        if tile:
            return decode_in_tiles(self.vae, latents, tile, PX_PER_LATENT)
        return self.vae.decode(latents, return_dict=False)[0]  # type: ignore[no-any-return]

    def encode(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The VAE's latents (1, C, h, w) of a picture (1, 3, H, W) of range [-1, 1], drawn from its distribution."""
        pixels = pixels.to(self.device, self.vae.dtype)
        return self.vae.encode(pixels).latent_dist.sample(generator)  # type: ignore[no-any-return]

    def unscaled_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of the transformer as the VAE takes them."""
        return latents / float(self.vae.config.scaling_factor) + float(self.vae.config.shift_factor)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of the VAE as the transformer takes them."""
        return (latents - float(self.vae.config.shift_factor)) * float(self.vae.config.scaling_factor)

    def _embedded(self, recipe: Recipe) -> float:
        return float(self.options.get("guidance", 1.0)) if self.options.get("true_cfg") else recipe.cfg_scale

    def _latents(self, item: BatchItem, sampling: FlowSampling) -> tuple[torch.Tensor, Kept | None]:
        """First latents, and what inpainting keeps; random draws are those of diffusers' pipelines, in their order."""
        recipe = item.recipe
        sides = recipe.height_px // PX_PER_LATENT, recipe.width_px // PX_PER_LATENT
        shape = (1, int(self.vae.config.get("latent_channels") or self.vae.config.z_dim), *sides)
        if item.image is None:
            return sampling.noise(shape, self.noise_dtype or self.latents_dtype).to(self.device), None
        pixels = picture_tensor(item.image) * 2.0 - 1.0
        given = self.scaled(self.encode(pixels, sampling.generator)).to(self.latents_dtype)
        noise = sampling.noise(shape, self.latents_dtype).to(self.device)
        latents = sampling.add_noise(given, noise, 0)
        if item.mask is None:
            return latents, None
        wanted = (picture_tensor(item.mask) >= 0.5).float()
        # The largest of what falls on a latent, as for other models.
        mask = torch.nn.functional.max_pool2d(wanted, PX_PER_LATENT).to(self.device, self.latents_dtype)
        return latents, Kept(mask, given, noise)

    def _encoded(self, text: str) -> Text:
        if (tokens := self.text_tokens(text)) > self.max_tokens:
            raise ModelError(f"the prompt has {tokens} tokens; the maximum is {self.max_tokens}. Shorten it.")
        with encoders_on(self.device, self.pipeline):
            return self.encode_text(text)


@contextmanager
def encoders_on(device: torch.device, pipeline: Any) -> Iterator[None]:
    """Have the text encoders on the device, and bring those back that are kept elsewhere."""
    away = [one for one in map(pipeline.components.get, ENCODERS) if one is not None and one.device != device]
    homes = [one.device for one in away]
    try:
        for one in away:
            one.to(device)
        yield
    finally:
        for one, home in zip(away, homes, strict=True):
            one.to(home)


ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


def packed(latents: torch.Tensor) -> torch.Tensor:
    """(rows, C, h, w) as tokens of 2×2 places (rows, h/2·w/2, 4C), row by row of the picture."""
    rows, channels, height, width = latents.shape
    patches = latents.view(rows, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(rows, -1, channels * 4)


def unpacked(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Undo `packed`: (rows, C, height, width)."""
    rows, _, values = tokens.shape
    patches = tokens.view(rows, height // 2, width // 2, values // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(rows, values // 4, height, width)

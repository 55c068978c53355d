"""Qwen-Image."""

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any, ClassVar

import torch
from diffusers import QwenImagePipeline
from torch.nn.functional import pad

from models.denoising.dit_model import PX_PER_LATENT, DiTModel, Row, packed, unpacked
from models.denoising.slot import Slot
from models.denoising.texts import Text
from models.families.dit import DiTFamily
from models.recipe import Recipe


class QwenImageModel(DiTModel):
    """Texts of any length, filled up and masked inside a pass; a VAE made for video, of one frame."""

    max_tokens = 1024

    def is_guided(self, recipe: Recipe) -> bool:
        """Without `true_cfg` in the card's options, only where the transformer has no guidance as an input."""
        is_distilled = self.transformer.config.guidance_embeds and not self.options.get("true_cfg")
        return super().is_guided(recipe) and not is_distilled

    def negative_text(self, given: str) -> str:
        """A blank where there is none, as its makers have it."""
        return given or " "

    def text_tokens(self, text: str) -> int:
        """Without those of the template that the text is laid in."""
        laid = self.pipeline.prompt_template_encode.format(text)
        return len(self.pipeline.tokenizer(laid, verbose=False).input_ids) - self._template_tokens

    @property
    def _template_tokens(self) -> int:
        return int(self.pipeline.prompt_template_encode_start_idx)

    def encode_text(self, text: str) -> Text:
        """See `DiTModel`."""
        states, _ = self.pipeline.encode_prompt(text, self.device, max_sequence_length=self.max_tokens)
        return Text(states)

    def outputs(self, rows: Sequence[Row]) -> Iterable[torch.Tensor]:
        """See `DiTModel`."""
        latents = torch.cat([row.latents for row in rows])
        height, width = latents.shape[2:]
        lengths = torch.tensor([row.text.states.shape[1] for row in rows], device=self.device)
        longest = int(lengths.max())
        tokens = self.transformer(
            hidden_states=packed(latents),
            timestep=torch.tensor([row.time for row in rows], device=self.device).to(self.dtype) / 1000,
            guidance=self.embedded_guidance(rows),
            encoder_hidden_states=torch.cat([_filled(row.text.states, longest) for row in rows]),
            encoder_hidden_states_mask=_mask(lengths, longest),
            img_shapes=[[(1, height // 2, width // 2)]] * len(rows),
            attention_kwargs={},
            return_dict=False,
        )[0]
        return torch.split(unpacked(tokens, height, width), 1)

    def guided(self, slot: Slot, prediction: torch.Tensor) -> torch.Tensor:
        """As long, in each token, as without guidance."""
        if len(prediction) == 1:
            return prediction
        guided, given = packed(super().guided(slot, prediction)), packed(prediction[1:])
        scaled = guided * (given.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))
        return unpacked(scaled, *prediction.shape[2:])

    def decoded(self, latents: torch.Tensor, tile: int | None = None) -> torch.Tensor:
        """See `DiTModel`; its own tiles, whose normalizations do not look beyond a place."""
        vae = self.vae
        if tile:
            vae, side_px = copy(vae), tile * PX_PER_LATENT
            vae.enable_tiling(side_px, side_px, side_px * 3 // 4, side_px * 3 // 4)
        picture: torch.Tensor = vae.decode(latents[:, :, None], return_dict=False)[0]
        return picture[:, :, 0]

    def encode(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """See `DiTModel`."""
        return super().encode(pixels[:, :, None], generator)[:, :, 0]

    def unscaled_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """See `DiTModel`."""
        mean, spread = self._statistics(latents)
        return latents * spread + mean

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """See `DiTModel`."""
        mean, spread = self._statistics(latents)
        return (latents - mean) / spread

    def _statistics(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, spread = (latents.new_tensor(self.vae.config[name]) for name in ("latents_mean", "latents_std"))
        return mean.view(1, -1, 1, 1), spread.view(1, -1, 1, 1)


def _filled(states: torch.Tensor, tokens: int) -> torch.Tensor:
    return pad(states, (0, 0, 0, tokens - states.shape[1]))


def _mask(lengths: torch.Tensor, longest: int) -> torch.Tensor | None:
    """Which tokens are of the text (rows, tokens); None if all are."""
    mask = torch.arange(longest, device=lengths.device)[None] < lengths[:, None]
    return None if bool(mask.all()) else mask


class QwenImage(DiTFamily):
    """A Qwen-Image checkpoint."""

    pipelines: ClassVar[Any] = QwenImagePipeline
    model: ClassVar[type[DiTModel]] = QwenImageModel

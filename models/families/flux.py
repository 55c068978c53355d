"""Flux.1 (dev and schnell), and what is trained from them."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxPipeline

from models.denoising.dit_model import DiTModel, Row, packed, unpacked
from models.denoising.texts import Text
from models.families.dit import DiTFamily
from models.recipe import Recipe


class FluxModel(DiTModel):
    """Texts of 512 tokens without a mask, guidance as an input (dev), sizes mixed on a common canvas."""

    mixes_sizes: ClassVar[bool] = True

    def is_guided(self, recipe: Recipe) -> bool:
        """Only with `true_cfg` in the card's options."""
        return bool(self.options.get("true_cfg")) and recipe.cfg_scale > 1

    def text_tokens(self, text: str) -> int:
        """Those of T5; the pooled text of CLIP ends after 77, as in diffusers."""
        return len(self.pipeline.tokenizer_2(text, verbose=False).input_ids)

    def encode_text(self, text: str) -> Text:
        """See `DiTModel`."""
        states, pooled, _ = self.pipeline.encode_prompt(text, device=self.device, max_sequence_length=self.max_tokens)
        return Text(states, pooled)

    def outputs(self, rows: Sequence[Row]) -> Iterable[torch.Tensor]:
        """Latents lie in the upper left corner of a canvas that holds all, and nothing attends to what is empty."""
        sides = [(row.latents.shape[2], row.latents.shape[3]) for row in rows]
        height, width = (max(side) for side in zip(*sides, strict=True))
        canvas = torch.cat([_laid(row.latents, height, width) for row in rows])
        times = torch.tensor([row.time for row in rows], device=self.device).to(self.dtype)
        states = torch.cat([row.text.states for row in rows])
        tokens = self.transformer(
            hidden_states=packed(canvas),
            timestep=times / 1000,
            guidance=self.embedded_guidance(rows),
            pooled_projections=torch.cat([row.text.pooled for row in rows if row.text.pooled is not None]),
            encoder_hidden_states=states,
            txt_ids=states.new_zeros(states.shape[1], 3),
            img_ids=_places(height // 2, width // 2).to(states),
            joint_attention_kwargs=_mask(sides, height, width, states) if len(set(sides)) > 1 else {},
            return_dict=False,
        )[0]
        pictures = unpacked(tokens, height, width)
        return [pictures[place : place + 1, :, :high, :wide] for place, (high, wide) in enumerate(sides)]


def _laid(latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(latents, (0, width - latents.shape[3], 0, height - latents.shape[2]))


def _places(rows: int, columns: int) -> torch.Tensor:
    """(tokens, 3): nothing, row and column of each token of a picture."""
    grid = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    return torch.nn.functional.pad(grid, (1, 0))


def _mask(sides: Sequence[tuple[int, int]], height: int, width: int, states: torch.Tensor) -> dict[str, Any]:
    """Which tokens of text and canvas (rows, 1, 1, tokens) others attend to."""
    used = torch.zeros(len(sides), height // 2, width // 2, dtype=torch.bool, device=states.device)
    for place, (high, wide) in enumerate(sides):
        used[place, : high // 2, : wide // 2] = True
    texts = used.new_ones(states.shape[:2])
    return {"attention_mask": torch.cat([texts, used.flatten(1)], dim=1)[:, None, None]}


class Flux(DiTFamily):
    """A Flux.1 checkpoint."""

    pipelines: ClassVar[Any] = FluxPipeline
    model: ClassVar[type[DiTModel]] = FluxModel
    unused_parts: ClassVar[tuple[str, ...]] = ("image_encoder", "feature_extractor")

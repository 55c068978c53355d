"""Stable Diffusion 3 and 3.5."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusion3Pipeline

from models.denoising.dit_model import DiTModel, Row
from models.denoising.flow_sampling import Sigmas
from models.denoising.texts import Text
from models.families.dit import DiTFamily

_T5_TOKENS = 256


class SD3Model(DiTModel):
    """Texts of 77 tokens of two CLIPs and 256 of T5, whose encoder some checkpoints leave out."""

    def __init__(self, pipeline: Any, options: Mapping[str, Any]) -> None:
        super().__init__(pipeline, options)
        self.max_tokens = _T5_TOKENS if pipeline.text_encoder_3 else pipeline.tokenizer_max_length

    def sigmas(self, steps: int) -> Sigmas:
        """Those of its scheduler."""
        return None

    def text_tokens(self, text: str) -> int:
        """Those of T5, if it is there; the text of CLIP ends after 77, as in diffusers."""
        tokenizer = self.pipeline.tokenizer_3 if self.pipeline.text_encoder_3 else self.pipeline.tokenizer
        return len(tokenizer(text, verbose=False).input_ids)

    def encode_text(self, text: str) -> Text:
        """See `DiTModel`."""
        states, _, pooled, _ = self.pipeline.encode_prompt(
            text, None, None, self.device, do_classifier_free_guidance=False, max_sequence_length=_T5_TOKENS
        )
        return Text(states, pooled)

    def outputs(self, rows: Sequence[Row]) -> Iterable[torch.Tensor]:
        """See `DiTModel`."""
        predictions = self.transformer(
            hidden_states=torch.cat([row.latents for row in rows]),
            timestep=torch.tensor([row.time for row in rows], device=self.device),
            encoder_hidden_states=torch.cat([row.text.states for row in rows]),
            pooled_projections=torch.cat([row.text.pooled for row in rows if row.text.pooled is not None]),
            return_dict=False,
        )[0]
        return torch.split(predictions, 1)


class SD3(DiTFamily):
    """A Stable Diffusion 3 or 3.5 checkpoint."""

    pipelines: ClassVar[Any] = StableDiffusion3Pipeline
    model: ClassVar[type[DiTModel]] = SD3Model
    unused_parts: ClassVar[tuple[str, ...]] = ("image_encoder", "feature_extractor")
    optional_parts: ClassVar[tuple[str, ...]] = ("text_encoder_3", "tokenizer_3")

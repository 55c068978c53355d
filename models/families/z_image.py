"""Z-Image and Z-Image-Turbo."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from diffusers import ZImagePipeline

from models.denoising.dit_model import DiTModel, Row
from models.denoising.slot import Slot
from models.denoising.texts import Text
from models.families.dit import DiTFamily


class ZImageModel(DiTModel):
    """Texts and pictures of any length side by side; time runs from 0 to 1, and the output is the other way round."""

    mixes_sizes: ClassVar[bool] = True
    noise_dtype: ClassVar[torch.dtype | None] = torch.float32

    def canvas(self, sides: Sequence[tuple[int, int]]) -> int:
        """Rows are filled up to the longest."""
        return max(height * width for height, width in sides)

    def text_tokens(self, text: str) -> int:
        """With those of the chat that the text is laid in."""
        tokenizer = self.pipeline.tokenizer
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True, enable_thinking=True
        )
        return len(tokenizer(chat, verbose=False).input_ids)

    def encode_text(self, text: str) -> Text:
        """See `DiTModel`."""
        (states,), _ = self.pipeline.encode_prompt(
            text, self.device, do_classifier_free_guidance=False, max_sequence_length=self.max_tokens
        )
        return Text(states[None])

    def outputs(self, rows: Sequence[Row]) -> Iterable[torch.Tensor]:
        """See `DiTModel`; float32."""
        times = torch.tensor([row.time for row in rows], device=self.device)
        predictions = self.transformer(
            [row.latents[0, :, None] for row in rows],
            (1000 - times) / 1000,
            [row.text.states[0] for row in rows],
            return_dict=False,
        )[0]
        return [-prediction[None, :, 0].float() for prediction in predictions]

    def guided(self, slot: Slot, prediction: torch.Tensor) -> torch.Tensor:
        """Its guidance counts from the prompt, not from the negative one."""
        if len(prediction) == 1:
            return prediction
        without, given = prediction.chunk(2)
        return given + slot.recipe.cfg_scale * (given - without)


class ZImage(DiTFamily):
    """A Z-Image checkpoint."""

    pipelines: ClassVar[Any] = ZImagePipeline
    model: ClassVar[type[DiTModel]] = ZImageModel

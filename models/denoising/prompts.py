"""Prompts as text states: each encoded on its own, in chunks when it is long, and remembered."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from models.denoising.texts import RememberedTexts, Text
from models.denoising.windows import Window, WindowCutter
from models.prompt_syntax import PromptSyntax

REMEMBERED_BYTES = 64 << 20
"""Of all encoded texts that are kept: in half precision 500 of Stable Diffusion 1.5's and 200 of XL's."""


class PromptEncoder:
    """The text encoders of one pipeline.

    A text of up to 75 tokens is encoded as diffusers does it. A longer one is cut into chunks of 75, each encoded in a
    window of its own, and the windows are laid side by side, as most Stable Diffusion front ends do; diffusers would
    drop the rest. Cut between tokens, so a word can fall apart there.

    Args:
        syntax: how prompts are read; see `models.prompt_syntax`.
        embeddings: for each encoder, the vectors (n, width) that stand for a name in prompts of `a1111`.
        clip_skip: the layer that is taken of the only encoder, from the last on, as A1111 counts; 1 is the last.
    """

    def __init__(
        self,
        pipeline: Any,
        syntax: PromptSyntax = "plain",
        embeddings: Sequence[Mapping[str, torch.Tensor]] = ({}, {}),
        clip_skip: int = 1,
    ) -> None:
        self._pipeline = pipeline
        self._second = getattr(pipeline, "text_encoder_2", None)
        self._clip_skip = clip_skip
        tokenizers = (tokenizer for tokenizer, _ in self._encoders())
        self._cutters = [WindowCutter(*one) for one in zip(tokenizers, (syntax, syntax), embeddings, strict=False)]
        self._texts = RememberedTexts(REMEMBERED_BYTES)

    def encode_pair(self, text: str, negative: str, weights: object) -> tuple[Text, Text]:
        """A prompt and its negative prompt, encoded, of equal length.

        Args:
            weights: names the state of the encoders (the LoRA in use); part of what texts are remembered by.
        Raises:
            ModelError: if a text is too long.
        """
        chunks = max(self._chunks(text), self._chunks(negative))
        positive = self.encode(text, weights, chunks)
        if self._negative_is_zeros(negative):
            return positive, _zeros_like(positive)
        return positive, self.encode(negative, weights, chunks)

    def encode(self, text: str, weights: object, chunks: int = 1) -> Text:
        """One text, encoded, in at least `chunks` windows (of 77 tokens); ModelError if it is too long."""
        return self._texts.of((text, weights, chunks), lambda: self._encoded(text, chunks))

    def _negative_is_zeros(self, negative: str) -> bool:
        """SDXL was trained with zeros for "no negative prompt"."""
        return bool(self._second and not negative and self._pipeline.config.force_zeros_for_empty_prompt)

    def _chunks(self, text: str) -> int:
        return max(len(cutter.windows(text)) for cutter in self._cutters)

    def _encoders(self) -> Iterator[tuple[Any, Any]]:
        if self._pipeline.text_encoder is not None:
            yield self._pipeline.tokenizer, self._pipeline.text_encoder
        if self._second is not None:
            yield self._pipeline.tokenizer_2, self._second

    def _encoded(self, text: str, chunks: int) -> Text:
        outputs = [
            self._states(tokenizer, encoder, cutter.windows(text), chunks)
            for (tokenizer, encoder), cutter in zip(self._encoders(), self._cutters, strict=True)
        ]
        states = torch.cat([states for states, _ in outputs], dim=-1)
        return Text(states, outputs[-1][1] if self._second is not None else None)

    def _states(
        self, tokenizer: Any, encoder: Any, windows: list[Window], chunks: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The states of all windows side by side, and the pooled state of the first."""
        windows = windows + [Window()] * (chunks - len(windows))
        ids = [[tokenizer.bos_token_id, *window.tokens, tokenizer.eos_token_id] for window in windows]
        padded = {"padding": "max_length", "max_length": tokenizer.model_max_length, "return_tensors": "pt"}
        inputs = tokenizer.pad({"input_ids": ids}, **padded).to(encoder.device)
        mask = inputs.attention_mask if getattr(encoder.config, "use_attention_mask", False) else None
        takes_inner = self._second is not None or self._clip_skip > 1
        with _vectors_in_place(encoder, windows):
            output = encoder(inputs.input_ids, attention_mask=mask, output_hidden_states=takes_inner)
        states = _weighted(self._layer(encoder, output), windows)
        return states.reshape(1, -1, states.shape[-1]).to(encoder.dtype), output[0][:1]

    def _layer(self, encoder: Any, output: Any) -> torch.Tensor:
        if self._second is not None:
            return output.hidden_states[-2]  # type: ignore[no-any-return]
        if self._clip_skip == 1:
            return output[0]  # type: ignore[no-any-return]
        inner = getattr(encoder, "text_model", encoder)
        return inner.final_layer_norm(output.hidden_states[-self._clip_skip])  # type: ignore[no-any-return]


@contextmanager
def _vectors_in_place(encoder: Any, windows: Sequence[Window]) -> Iterator[None]:
    """Have the vectors that prompts name stand where they are named, behind the mark that begins each window."""

    def put(module: Any, ids: Any, embedded: torch.Tensor) -> torch.Tensor:
        for row, window in enumerate(windows):
            for place, vectors in window.vectors:
                embedded[row, place + 1 : place + 1 + len(vectors)] = vectors.to(embedded)
        return embedded

    if not any(window.vectors for window in windows):
        yield
        return
    hook = encoder.get_input_embeddings().register_forward_hook(put)
    try:
        yield
    finally:
        hook.remove()


def _weighted(states: torch.Tensor, windows: Sequence[Window]) -> torch.Tensor:
    """Each state (windows, tokens, width) times its token's weight, and the mean of its window as it was before."""
    if all(weight == 1.0 for window in windows for weight in window.weights):
        return states
    weights = torch.ones(states.shape[:2])
    for row, window in enumerate(windows):
        weights[row, 1 : 1 + len(window.weights)] = torch.tensor(window.weights)
    weighted = states * weights[..., None].to(states)
    means = (one.float().mean(dim=(1, 2), keepdim=True) for one in (states, weighted))
    return (weighted * (next(means) / next(means))).to(states)


def _zeros_like(text: Text) -> Text:
    pooled = None if text.pooled is None else torch.zeros_like(text.pooled)
    return Text(torch.zeros_like(text.states), pooled)

"""Prompts as text embeddings: each encoded on its own, in chunks when it is long, and remembered."""

import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from models.errors import ModelError

MAX_CHUNKS = 8
"""A prompt fills at most this many windows of the text encoder: 600 tokens for CLIP."""

REMEMBERED_TOKENS = 256 * 77
"""Of all embeddings that are kept: in half precision 30 MB for Stable Diffusion 1.5 and 80 MB for XL."""


@dataclass(frozen=True, eq=False)
class TextEmbedding:
    """What the UNet sees of one text.

    Attributes:
        states: (1, tokens, width), tokens a multiple of the encoder's window (77 for CLIP).
        pooled: (1, width), of Stable Diffusion XL; None elsewhere.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None


class PromptEncoder:
    """The text encoders of one pipeline.

    A text of up to 75 tokens is encoded as diffusers does it. A longer one is cut into chunks of 75, each encoded in a
    window of its own, and the windows are laid side by side, as most Stable Diffusion front ends do; diffusers would
    drop the rest. Cut between tokens, so a word can fall apart there.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._second = getattr(pipeline, "text_encoder_2", None)
        self._known: OrderedDict[tuple[object, ...], TextEmbedding] = OrderedDict()
        self._tokens = 0

    def encode_pair(self, text: str, negative: str, weights: object) -> tuple[TextEmbedding, TextEmbedding]:
        """The embeddings of a prompt and its negative prompt, of equal length.

        Args:
            weights: names the state of the encoders (the LoRA in use); part of what embeddings are remembered by.
        Raises:
            ModelError: if a text is too long.
        """
        chunks = max(self._chunks(text), self._chunks(negative))
        positive = self.encode(text, weights, chunks)
        if self._negative_is_zeros(negative):
            return positive, _zeros_like(positive)
        return positive, self.encode(negative, weights, chunks)

    def encode(self, text: str, weights: object, chunks: int = 1) -> TextEmbedding:
        """The embedding of one text in at least `chunks` windows; ModelError if it is too long."""
        key = (text, weights, chunks)
        if key not in self._known:
            self._known[key] = self._encoded(text, chunks)
            self._tokens += self._known[key].states.shape[1]
            while self._tokens > REMEMBERED_TOKENS:
                _, forgotten = self._known.popitem(last=False)
                self._tokens -= forgotten.states.shape[1]
        self._known.move_to_end(key)
        return self._known[key]

    def _negative_is_zeros(self, negative: str) -> bool:
        """SDXL was trained with zeros for "no negative prompt"."""
        return bool(self._second and not negative and self._pipeline.config.force_zeros_for_empty_prompt)

    def _chunks(self, text: str) -> int:
        return max(len(list(_windows(tokenizer, text))) for tokenizer, _ in self._encoders())

    def _encoders(self) -> Iterator[tuple[Any, Any]]:
        if self._pipeline.text_encoder is not None:
            yield self._pipeline.tokenizer, self._pipeline.text_encoder
        if self._second is not None:
            yield self._pipeline.tokenizer_2, self._second

    def _encoded(self, text: str, chunks: int) -> TextEmbedding:
        outputs = [self._states(tokenizer, encoder, text, chunks) for tokenizer, encoder in self._encoders()]
        states = torch.cat([states for states, _ in outputs], dim=-1)
        return TextEmbedding(states, outputs[-1][1] if self._second is not None else None)

    def _states(self, tokenizer: Any, encoder: Any, text: str, chunks: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The states of all windows side by side, and the pooled state of the first."""
        windows = list(_windows(tokenizer, text))
        windows += list(_windows(tokenizer, "")) * (chunks - len(windows))
        padded = {"padding": "max_length", "max_length": tokenizer.model_max_length, "return_tensors": "pt"}
        inputs = tokenizer.pad({"input_ids": windows}, **padded).to(encoder.device)
        mask = inputs.attention_mask if getattr(encoder.config, "use_attention_mask", False) else None
        output = encoder(inputs.input_ids, attention_mask=mask, output_hidden_states=self._second is not None)
        states = output[0] if self._second is None else output.hidden_states[-2]
        return states.reshape(1, -1, states.shape[-1]).to(encoder.dtype), output[0][:1]


def _windows(tokenizer: Any, text: str) -> Iterator[list[int]]:
    """The text's token ids in windows that the encoder can take at once; ModelError if there are too many."""
    room = tokenizer.model_max_length - 2
    if (fewest := _fewest_tokens(tokenizer, text)) > room * MAX_CHUNKS:
        raise ModelError(f"the prompt has at least {fewest} tokens; the maximum is {room * MAX_CHUNKS}. Shorten it.")
    ids: Sequence[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    if len(ids) > room * MAX_CHUNKS:
        raise ModelError(f"the prompt has {len(ids)} tokens; the maximum is {room * MAX_CHUNKS}. Shorten it.")
    for start in range(0, max(len(ids), 1), room):
        yield [tokenizer.bos_token_id, *ids[start : start + room], tokenizer.eos_token_id]


def _fewest_tokens(tokenizer: Any, text: str) -> int:
    """How many tokens a text has at least, known without cutting it up, for which all others' steps would wait.

    No token stands for more bytes than the longest has. CLIP's tokenizers read texts in NFC and lower case, and skip
    blanks; others may have tokens for unknown words of any length, and are not judged.
    """
    if not type(tokenizer).__name__.startswith("CLIPTokenizer"):
        return 0
    seen = "".join(unicodedata.normalize("NFC", text).lower().split())
    return -(-len(seen.encode("utf-8", "replace")) // _longest_token_bytes(tokenizer))


@lru_cache(maxsize=4)
def _longest_token_bytes(tokenizer: Any) -> int:
    return max(len(token.encode()) for token in tokenizer.get_vocab())


def _zeros_like(embedding: TextEmbedding) -> TextEmbedding:
    pooled = None if embedding.pooled is None else torch.zeros_like(embedding.pooled)
    return TextEmbedding(torch.zeros_like(embedding.states), pooled)

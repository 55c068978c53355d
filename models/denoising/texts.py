"""Texts as a diffusion transformer sees them: encoded each on its own, never padded beyond that, and remembered."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch

REMEMBERED_BYTES = 256 << 20
"""Of all encoded texts that are kept: 64 of Flux.1's in half precision."""


@dataclass(frozen=True, eq=False)
class Text:
    """One encoded text.

    Attributes:
        states: (1, tokens, width).
        pooled: (1, width), where the transformer takes one.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.states.nbytes + (self.pooled.nbytes if self.pooled is not None else 0)


class RememberedTexts:
    """What was encoded last, by text and by the state of the encoders (the LoRAs in use)."""

    def __init__(self, encode: Callable[[str], Text]) -> None:
        self._encode = encode
        self._known: OrderedDict[tuple[str, object], Text] = OrderedDict()

    def of(self, text: str, weights: object) -> Text:
        """The encoded text."""
        key = (text, weights)
        if key not in self._known:
            self._known[key] = self._encode(text)
            while len(self._known) > 1 and sum(one.size_bytes for one in self._known.values()) > REMEMBERED_BYTES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

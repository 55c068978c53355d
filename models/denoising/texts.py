"""Texts as a network sees them: encoded each on its own, and remembered."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Text:
    """One encoded text.

    Attributes:
        states: (1, tokens, width).
        pooled: (1, width), where the network takes one.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None = None

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.states.nbytes + (self.pooled.nbytes if self.pooled is not None else 0)


class RememberedTexts:
    """What was encoded last, in so much memory."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._known: OrderedDict[Hashable, Text] = OrderedDict()

    def of(self, key: Hashable, encode: Callable[[], Text]) -> Text:
        """The encoded text of a key: all that decides it, the state of the encoders (the LoRAs in use) among it."""
        if key not in self._known:
            self._known[key] = encode()
            while len(self._known) > 1 and sum(one.size_bytes for one in self._known.values()) > self._most_bytes:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

"""The reader of GGUF files, for files from anywhere: what is read of one is bounded."""

from typing import Any

from gguf import GGUFReader

MOST_READS = 1_000_000
"""Of numbers and words, each some 10 µs and 700 bytes: the vocabulary of Qwen3, a large encoder's, has 760,000."""


class BoundedGGUFReader(GGUFReader):
    """The header and tensors of a file; a ValueError for one that ends too early or says too much."""

    _reads = 0

    def _get(self, offset: int, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
        """Every read: the library's own takes what is beyond the end for nothing, and goes on."""
        found = super()._get(offset, dtype, count, override_order)
        self._reads += 1
        if self._reads > MOST_READS:
            raise ValueError("its header has more parts than that of any model")
        if len(found) < int(count):
            raise ValueError("it ends too early")
        return found

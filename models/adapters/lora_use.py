"""A LoRA as an engine is told to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file, its weight, and the digest that the file must have if one is given."""

    path: Path
    weight: float
    digest: str = ""

    @property
    def key(self) -> tuple[str, float]:
        """Names the state it brings a model to."""
        return self.digest or str(self.path), self.weight


def lora_keys(loras: Sequence[LoraUse]) -> tuple[tuple[str, float], ...]:
    """Names the state that LoRAs bring a model to together; empty without any."""
    return tuple(sorted(lora.key for lora in loras))

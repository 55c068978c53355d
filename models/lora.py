"""LoRAs as requests name them, recipes pin them and engines use them; other kinds of adapters count as LoRAs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, Strict

from foundation.value_object import ValueObject

MAX_LORAS = 16
"""LoRAs of one request."""

LoraWeight = Annotated[float, Strict(), Field(ge=-4, le=4)]
LoraName = Annotated[str, Strict(), Field(min_length=1, max_length=1_000, pattern=r"^[^\x00]*$")]


class LoraChoice(ValueObject):
    """A LoRA of the model's card, and how strong it is."""

    name: LoraName
    weight: LoraWeight = 1.0


class PinnedLora(LoraChoice):
    """One whose file has this digest."""

    digest: Annotated[str, Strict()]


def repeated(loras: Iterable[LoraChoice]) -> str | None:
    """A name that is there twice."""
    names = Counter(lora.name for lora in loras)
    return next((name for name, count in names.items() if count > 1), None)


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

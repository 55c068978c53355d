"""The interface of a model family: load, infer a batch, release."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.placement import Placement
    from models.registry import ModelCard

OnBatchStep = Callable[[int, int], None]
"""Called with the steps done and the steps to do after each step of a batch."""


@dataclass(frozen=True)
class BatchItem:
    """One picture to make; input pictures are RGB (the mask L) and already of the recipe's size."""

    recipe: Recipe
    image: "Image | None" = None
    mask: "Image | None" = None
    control: "Image | None" = None


@dataclass(frozen=True)
class LoraUse:
    """A LoRA file, the name its adapter gets, and its weight."""

    path: Path
    adapter: str
    weight: float


@dataclass(frozen=True, eq=False)
class BatchResult:
    """The pictures of a batch, uint8 (N, H, W, 3), and the seconds the whole batch took by stage."""

    pixels: "NDArray[np.uint8]"
    seconds: dict[str, float]


class ModelFamily(ABC):
    """One model of a family. Not thread-safe: one batch at a time.

    The items of a batch agree in mode, size, steps, guidance, sampler and strength; they differ in prompts, seeds and
    input pictures, and none may change the picture of another.
    """

    def __init__(self, card: "ModelCard", placement: "Placement") -> None:
        self.card = card
        self.placement = placement

    @abstractmethod
    def load(self) -> None:
        """Bring the model to its device; ModelLoadError if that fails."""

    @abstractmethod
    def infer(self, items: Sequence[BatchItem], lora: LoraUse | None, on_step: OnBatchStep) -> BatchResult:
        """Make the pictures of one batch; ModelError if the model cannot."""

    @abstractmethod
    def release(self) -> None:
        """Drop the model and give its memory back; calling it twice is fine."""

"""The interface of a model family: load, infer a batch, release."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.image import BatchItem
from models.lora import LoraUse, lora_keys

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.card import ModelCard
    from models.denoising.stepper import Stepper
    from models.placement import Placement

OnBatchStep = Callable[[int, int], None]
"""Called with the steps done and the steps to do after each step of a batch."""


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
        self.release_digest = ""

    @property
    def size_bytes(self) -> int:
        """Memory that the loaded weights take; 0 if it is not known."""
        return 0

    @abstractmethod
    def load(self) -> None:
        """Bring the model to its device; `load_family` turns all that it raises into a ModelError that names it."""

    @abstractmethod
    def infer(self, items: Sequence[BatchItem], loras: Sequence[LoraUse], on_step: OnBatchStep) -> BatchResult:
        """Make the pictures of one batch; ModelError if the model cannot."""

    @abstractmethod
    def release(self) -> None:
        """Drop the model and give its memory back; calling it twice, or after `load` has failed, is fine."""


class StepFamily(ModelFamily):
    """A family whose requests can share single denoising steps, whatever their steps, guidance, sampler or mode."""

    @property
    @abstractmethod
    def stepper(self) -> "Stepper":
        """Takes requests of the loaded model step by step."""

    @abstractmethod
    def use_loras(self, loras: Sequence[LoraUse]) -> None:
        """Have exactly these LoRAs active, at their weights; ModelLoadError if one does not fit."""

    def infer(self, items: Sequence[BatchItem], loras: Sequence[LoraUse], on_step: OnBatchStep) -> BatchResult:
        """Make the pictures of one batch by themselves; the items need agree in size only."""
        import numpy as np

        self.use_loras(loras)
        slots = [self.stepper.start(item, lora_keys(loras)) for item in items]
        while running := [slot for slot in slots if not slot.sampling.is_done]:
            self.stepper.step(running, _raise)
            on_step(max(slot.sampling.done for slot in running), max(slot.sampling.total for slot in slots))
        pixels = np.stack([self.stepper.pixels(slot, self.placement.tile_px(slot.recipe.size)) for slot in slots])
        return BatchResult(pixels, {stage: sum(slot.seconds[stage] for slot in slots) for stage in slots[0].seconds})


def _raise(slot: object, exc: Exception) -> None:
    raise exc

"""Families whose parts one of diffusers' pipelines holds: what is done with them once they are loaded."""

import gc
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from models.adapters.adapter_switch import AdapterSwitch
from models.adapters.lora_use import LoraUse
from models.denoising.memory import return_memory
from models.denoising.stepper import Stepper
from models.denoising.weights import weights_bytes
from models.families.base import StepFamily
from models.families.tiny_vae import load_tiny_vae

if TYPE_CHECKING:
    from models.card import ModelCard
    from models.placement import Placement


class PipelineFamily(StepFamily):
    """Adapters, memory and release; loading is the family's own."""

    def __init__(self, card: "ModelCard", placement: "Placement") -> None:
        super().__init__(card, placement)
        self._stepper: Stepper | None = None
        self._loras: AdapterSwitch | None = None
        self._size_bytes = 0

    @property
    def stepper(self) -> Stepper:
        """See `StepFamily`."""
        assert self._stepper, "not loaded"
        return self._stepper

    @property
    def size_bytes(self) -> int:
        """See `ModelFamily`."""
        return self._size_bytes + (self._loras.size_bytes if self._loras else 0)

    def use_loras(self, loras: Sequence[LoraUse]) -> None:
        """See `StepFamily`."""
        assert self._loras, "not loaded"
        self._loras.use(loras)

    def release(self) -> None:
        """Drop every reference to the weights and return the device's memory."""
        if self._stepper:
            self._stepper.close()
        self._stepper = self._loras = None
        gc.collect()
        return_memory()

    def _begin(self, pipeline: Any, stepper: Stepper, others: Iterable[object] = ()) -> None:
        """Take the loaded parts over.

        Args:
            others: networks beside those of the pipeline.
        """
        if folder := self.card.preview_vae_path:
            tiny = load_tiny_vae(folder, pipeline.vae)
            stepper.previewer.vae = tiny
            others = [*others, tiny]
        self._stepper = stepper
        self._size_bytes = weights_bytes([*pipeline.components.values(), *others])
        in_place = self.placement.accelerator == "compile"
        self._loras = AdapterSwitch(pipeline, self.card.name, in_place=in_place, room_bytes=self._size_bytes // 2)

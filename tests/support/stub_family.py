"""A model family of a few lines: flat pictures whose colour is the seed, and failures on request."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from models.errors import ModelLoadError
from models.families.base import BatchResult, ModelFamily, OnBatchStep
from models.family_table import FamilyEntry
from models.image import BatchItem
from models.lora import LoraUse
from models.request import Mode

STUB = FamilyEntry("tests.support.stub_family:StubFamily", frozenset(Mode))
STUB_ALONE = FamilyEntry("tests.support.stub_family:StubFamily", frozenset(Mode), max_batch_size=1)


class StubFamily(ModelFamily):
    """Paints each picture in the colour of its seed; the text `boom` raises, `nan` gives no numbers."""

    loads: ClassVar[list[str]] = []
    batches: ClassVar[list[list[int]]] = []
    released: ClassVar[list[str]] = []

    def load(self) -> None:
        self.loads.append(self.card.name)
        if self.card.options.get("broken"):
            raise ModelLoadError("broken")

    def infer(self, items: Sequence[BatchItem], loras: Sequence[LoraUse], on_step: OnBatchStep) -> BatchResult:
        self.batches.append([item.recipe.seed for item in items])
        for step in range(items[0].recipe.steps):
            on_step(step + 1, items[0].recipe.steps)
            if any(item.recipe.text == "boom" for item in items):
                raise RuntimeError("the accelerator is out of luck")
        pixels = [np.full((item.recipe.height_px, item.recipe.width_px, 3), item.recipe.seed) for item in items]
        return BatchResult(np.stack(pixels).astype(np.uint8), {"denoise": 2.0})

    def release(self) -> None:
        self.released.append(self.card.name)

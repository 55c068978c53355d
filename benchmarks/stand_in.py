"""An engine that paints at once: for measuring, and testing, what surrounds the real one."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from models.engine import Engine, GenerationJob, OnStep
from models.image import FailedImage, GeneratedImage
from models.placement import Placement
from models.recipe import Recipe
from models.resolution import Resolution
from resources.gpu_engine import GPUEngine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL = "stand-in"
BATCH_SIZE = 8
_CARD = """
family: sd
source: stand-in
min_side_px: 64
max_side_px: 1024
defaults: {steps: 4}
"""


class StandInEngine:
    """Paints smooth pictures with a little noise, in batches, from a recipe alone.

    Args:
        picture_s: seconds that each picture takes, the processor idle meanwhile, as it is while a GPU computes.
    """

    def __init__(self, picture_s: float = 0.0) -> None:
        self._picture_s = picture_s

    def kind(self, model: str, size: Resolution) -> str:
        """See `Engine.kind`."""
        return self.placement(model).kind(size)

    def placement(self, model: str) -> Placement:
        """See `BatchingEngine.placement`."""
        return Placement("stand-in", "cpu", "float32")

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """See `Engine.generate`."""
        rest = iter(jobs)
        while batch := list(islice(rest, BATCH_SIZE)):
            time.sleep(self._picture_s * len(batch))
            for job in batch:
                if on_step:
                    on_step(job.id, job.recipe.steps, job.recipe.steps)
                yield GeneratedImage(job.id, paint(job.recipe), job.recipe, {"denoise": self._picture_s})

    def release(self) -> None:
        """See `Engine.release`."""


class StandInGPUEngine(GPUEngine):
    """The Dagster resource of the stand-in engine."""

    picture_s: float = 0.0

    @property
    def engine(self) -> Engine:
        """The stand-in."""
        return StandInEngine(self.picture_s)


def paint(recipe: Recipe) -> "NDArray[np.uint8]":
    """A picture that its recipe decides: uint8 (H, W, 3)."""
    import numpy as np

    height, width = recipe.height_px, recipe.width_px
    rng = np.random.default_rng(int(recipe.digest[:12], 16))
    rows = np.linspace(0, 40, height).reshape(height, 1, 1)
    columns = np.linspace(0, 40, width).reshape(1, width, 1)
    colours = rng.integers(20, 150, size=3)
    noise = rng.integers(0, 12, size=(height, width, 3))
    picture: NDArray[np.uint8] = (rows + columns + colours + noise).astype(np.uint8)
    return picture


def write_stand_in_model(folder: Path) -> dict[str, str]:
    """Write the stand-in's model card to `folder`, and return the settings that make it the default model."""
    (folder / MODEL).mkdir(parents=True, exist_ok=True)
    (folder / MODEL / "model.safetensors").write_bytes(b"stand-in")
    (folder / f"{MODEL}.yaml").write_text(_CARD, encoding="utf-8")
    return {"IMAGEGENX_MODEL_FOLDERS": f'["{folder}"]', "IMAGEGENX_DEFAULT_MODEL": MODEL}

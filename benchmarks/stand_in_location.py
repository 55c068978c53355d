"""The code location of ImageGenX with an engine that only waits; it notes each picture that it paints.

Dagster's code server and the processes of its runs load it, which start quickly without PyTorch.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import resources.gpu_engine
from benchmarks.stand_in import NOTES, PICTURE_S, StandInEngine, StandInGPUEngine
from models.engine import Engine, GenerationJob, OnStep
from models.image import FailedImage, GeneratedImage


class NotingEngine(StandInEngine):
    """Notes what it paints."""

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """See `Engine.generate`."""
        for outcome in super().generate(jobs, on_step):
            if outcome.recipe and NOTES in os.environ:
                # One short write to a file opened for appending: the lines of several processes do not mix.
                with Path(os.environ[NOTES]).open("a", encoding="utf-8") as file:
                    file.write(f"{outcome.recipe.digest}\n")
            yield outcome


class NotingGPUEngine(StandInGPUEngine):
    """The Dagster resource of the noting engine."""

    @property
    def engine(self) -> Engine:
        """The stand-in."""
        return NotingEngine(float(os.environ.get(PICTURE_S, "0")))


resources.gpu_engine.GPUEngine = NotingGPUEngine  # type: ignore[misc]

from imagegenx_assets.definitions import defs  # noqa: E402

__all__ = ["defs"]

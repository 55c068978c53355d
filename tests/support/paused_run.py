"""A run of the main job in a process of its own, whose engine paints two pictures and then waits for a file `go`.

Run as `python -m tests.support.paused_run CATALOG FOLDER`; the file `painting` in the folder says that the engine
waits.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.stand_in import StandInEngine, StandInGPUEngine, run_main_job
from models.engine import Engine, GenerationJob, OnStep
from models.image import FailedImage, GeneratedImage

GO_LIMIT_S = 240


class PausingEngine(StandInEngine):
    """Waits before its third picture."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """See `Engine.generate`."""
        for number, outcome in enumerate(super().generate(jobs, on_step)):
            if number == 2:
                self._wait()
            yield outcome

    def _wait(self) -> None:
        (self._folder / "painting").touch()
        limit = time.monotonic() + GO_LIMIT_S
        while not (self._folder / "go").exists():
            if time.monotonic() > limit:
                raise TimeoutError(f"nobody wrote {self._folder / 'go'}")
            time.sleep(0.01)


class PausingGPUEngine(StandInGPUEngine):
    """The Dagster resource of the pausing engine."""

    folder: str

    @property
    def engine(self) -> Engine:
        """The engine."""
        return PausingEngine(Path(self.folder))


if __name__ == "__main__":
    assert run_main_job(sys.argv[1], PausingGPUEngine(folder=sys.argv[2])).success

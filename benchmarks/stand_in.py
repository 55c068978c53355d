"""An engine that paints at once: for measuring, and testing, what surrounds the real one."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from models.batching.ticket import Listener
from models.engine import Engine, GenerationJob, OnStep
from models.image import FailedImage, GeneratedImage
from models.placement import Placement
from models.recipe import Recipe
from models.request import Priority
from models.resolution import Resolution
from resources.gpu_engine import GPUEngine
from resources.settings_resource import SettingsResource

if TYPE_CHECKING:
    import numpy as np
    from dagster import ExecuteInProcessResult
    from numpy.typing import NDArray

    from models.engine import BatchingEngine
    from resources.object_store import ObjectStore

MODEL = "stand-in"
NOTES = "IMAGEGENX_STAND_IN_NOTES"
"""The environment variable that names the file of `stand_in_location`'s notes: a recipe's digest a line."""
PICTURE_S = "IMAGEGENX_STAND_IN_PICTURE_S"
"""That of the seconds that each picture takes; 0 without it."""
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

    def models(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """See `BatchingEngine.models`."""
        return (), ()

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


class SteppingEngine(StandInEngine):
    """The stand-in with the face that serving uses: a batch of pictures takes one step after the other.

    Interactive pictures go first, at the next step, as in the real one.

    Args:
        step_s: seconds of a step, however many pictures are in the batch; the processor is idle meanwhile.
        steps: of a picture.
    """

    def __init__(self, step_s: float, steps: int = 10) -> None:
        super().__init__()
        self._step_s, self._steps = step_s, steps
        self._waiting: list[_Slot] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="stand-in", daemon=True).start()

    def submit(self, job: GenerationJob, listener: Listener, priority: Priority) -> object:
        """See `BatchingEngine.submit`."""
        slot = _Slot(job, listener, priority)
        with self._changed:
            self._waiting.append(slot)
            self._changed.notify()
        return slot

    def cancel(self, ticket: object) -> None:
        """See `BatchingEngine.cancel`."""
        with self._changed:
            found = [slot for slot in self._waiting if slot is ticket]
            self._waiting = [slot for slot in self._waiting if slot is not ticket]
        for slot in found:
            slot.listener.ended(FailedImage(slot.job.id, slot.job.recipe, "cancelled"))

    def announce(self, more: bool) -> None:
        """See `BatchingEngine.announce`."""

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                in_turn = sorted(self._waiting, key=lambda slot: slot.priority is not Priority.INTERACTIVE)
            batch = in_turn[:BATCH_SIZE]
            self._step()
            for slot in batch:
                slot.done += 1
                slot.seconds["denoise"] += self._step_s / len(batch)
                slot.listener.stepped(slot.job.id, slot.done, self._steps)
            ended = [slot for slot in batch if slot.done >= self._steps]
            with self._changed:
                ended = [slot for slot in ended if slot in self._waiting]
                self._waiting = [slot for slot in self._waiting if slot not in ended]
            for slot in ended:
                recipe = slot.job.recipe
                slot.listener.ended(GeneratedImage(slot.job.id, paint(recipe), recipe, slot.seconds))

    def _step(self) -> None:
        time.sleep(self._step_s)


@dataclass(eq=False)
class _Slot:
    job: GenerationJob
    listener: Listener
    priority: Priority
    done: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"denoise": 0.0})


class StandInGPUEngine(GPUEngine):
    """The Dagster resource of the stand-in engine."""

    picture_s: float = 0.0

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{"settings": SettingsResource(), **fields})

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


def serve(engine: StandInEngine, store: "ObjectStore | None" = None) -> None:
    """Be a worker with this engine, until the process ends. The store is that of the settings, if none is given."""
    from configs.settings import load_settings
    from models.registry import open_registry
    from ops.serving import ServingWorker, WorkerDependencies
    from resources.open_store import open_store
    from resources.queue import open_queue

    settings = load_settings()
    place = WorkerDependencies(
        settings,
        open_registry(settings),
        cast("BatchingEngine", engine),
        store or open_store(settings.store),
        open_queue(settings),
        warm_up=lambda registry: None,
    )
    worker = ServingWorker(place)
    worker.start()
    worker.end()


def run_main_job(catalog: str, gpu_engine: GPUEngine | None = None) -> "ExecuteInProcessResult":
    """Materialize every asset of a catalog in this process, on the Dagster instance of the configured home.

    Args:
        gpu_engine: in place of the configured one.
    """
    from dagster import materialize

    from configs.settings import load_settings
    from imagegenx_assets.catalog_assets import ASSETS
    from imagegenx_assets.definitions import RESOURCES
    from imagegenx_cli.catalogs import add_partition
    from imagegenx_cli.embedded_dagster import dagster_instance

    with dagster_instance(load_settings().home) as instance:
        add_partition(instance, catalog)
        return materialize(
            ASSETS,
            resources={**RESOURCES, **({"gpu_engine": gpu_engine} if gpu_engine else {})},
            partition_key=catalog,
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

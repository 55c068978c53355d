"""Hundreds of random requests with every kind of failure among them: all healthy pictures right, none lost, no leak."""

import ctypes
import gc
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes.util import find_library
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage, InputPicture
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Mode, Priority, Sampler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.batching.ticket import Ticket
    from models.denoising.slot import Slot

LIMITS = {"lost": 0.0, "wrong pictures": 0.0, "wrong failures": 0.0, "memory grown, MB": 20.0}
MARKS = {"raise": "KeyError: 'no such key'", "nan": "values that are not numbers", "memory": "out of memory"}
"""Prompts that fail, with an error, with a picture that is not numbers, for want of memory; and what they are told."""

_IN_FLIGHT = 48
_CANCEL_AFTER = "cancel"


@dataclass(frozen=True)
class Load:
    """A model and sizes to draw requests from; small ones make this quick."""

    registry: ModelRegistry
    model: str
    sides: tuple[int, ...]
    steps: tuple[int, int]


@dataclass
class _Log:
    """The listener of all jobs: what ended how, and which jobs are to be cancelled at their first step."""

    engine: BatchingEngine
    tickets: "dict[str, Ticket]" = field(default_factory=dict)
    results: dict[str, GeneratedImage | FailedImage] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def stepped(self, job_id: str, done: int, total: int) -> None:
        """Cancel a job that is marked for it."""
        if job_id.endswith(_CANCEL_AFTER) and (ticket := self.tickets.get(job_id)):
            self.engine.cancel(ticket)

    def ended(self, result: GeneratedImage | FailedImage) -> None:
        """Keep the one result of a job."""
        with self.changed:
            assert result.id not in self.results, f"job {result.id} ended twice"
            self.results[result.id] = result
            self.changed.notify_all()


def run(count: int = 1000, model: str = "") -> dict[str, float]:
    """Soak the engine of this machine's settings with its default model, or another one."""
    from benchmarks.engine import open_workplace

    place = open_workplace(model)
    return soak(place.engine, Load(place.registry, place.model, (96, 104), (1, 4)), count)


def soak(engine: BatchingEngine, load: Load, count: int, seed: int = 0) -> dict[str, float]:
    """Run `count` requests of 40 kinds, a tenth of them failing and a tenth cancelled, and compare with each alone.

    Returns:
        how many were lost, painted wrong or failed wrongly, and the growth of this process's memory in MB.
    """
    dice = random.Random(seed)
    kinds = [_job(engine, load, f"kind-{number}", dice) for number in range(40)]
    alone = {job.id: _pixels(engine, job) for job in kinds}
    warming, jobs = ([_drawn(kinds, number, dice) for number in range(count)] for _ in range(2))
    with _failures():
        # Others to begin with: libraries keep what they prepared for each shape.
        _run(engine, warming).clear()
        before = _memory_bytes()
        began = time.perf_counter()
        results = _run(engine, jobs)
        spent_s = time.perf_counter() - began
    verdicts = [_verdict(job, results.get(job.id), alone) for job in jobs]
    results.clear()
    grown = (_memory_bytes() - before) / 2**20
    return {
        "requests": float(count),
        "pictures": float(verdicts.count("right")),
        "failed as they should": float(verdicts.count("failed")),
        "cancelled": float(verdicts.count("cancelled")),
        "lost": float(verdicts.count("lost")),
        "wrong pictures": float(verdicts.count("wrong")),
        "wrong failures": float(verdicts.count("wrong failure")),
        "memory grown, MB": grown,
        "seconds": spent_s,
    }


def _memory_bytes() -> int:
    """Resident memory of this process, without what is free and only kept by the allocator."""
    import psutil

    gc.collect()
    if libc := find_library("c"):
        getattr(ctypes.CDLL(libc), "malloc_trim", int)(0)
    return int(psutil.Process().memory_info().rss)


def _run(engine: BatchingEngine, jobs: list[GenerationJob]) -> dict[str, GeneratedImage | FailedImage]:
    """Submit jobs of both priorities while fewer than a few are open, and wait for all."""
    log = _Log(engine)
    for number, job in enumerate(jobs):
        with log.changed:
            log.changed.wait_for(lambda submitted=number: submitted - len(log.results) < _IN_FLIGHT, 300)  # type: ignore[misc]
        priority = Priority.INTERACTIVE if number % 3 else Priority.BULK
        if ticket := engine.submit(job, log, priority):
            log.tickets[job.id] = ticket
    with log.changed:
        log.changed.wait_for(lambda: len(log.results) == len(jobs), 300)
    return log.results


def _drawn(kinds: list[GenerationJob], number: int, dice: random.Random) -> GenerationJob:
    """One of the kinds; its name says which, and what is to become of it."""
    kind, fate = dice.choice(kinds), dice.random()
    recipe, name = kind.recipe, f"{number}/{kind.id}"
    if fate < 0.1:
        recipe = recipe.model_copy(update={"text": dice.choice(list(MARKS))})
    elif fate < 0.2:
        name = f"{name}/{_CANCEL_AFTER}"
    return GenerationJob(name, recipe, kind.image, kind.mask, kind.controls)


def _verdict(
    job: GenerationJob, result: GeneratedImage | FailedImage | None, alone: "dict[str, NDArray[np.int64]]"
) -> str:
    import numpy as np

    if result is None:
        return "lost"
    if isinstance(result, FailedImage):
        if job.id.endswith(_CANCEL_AFTER) and result.error == "cancelled":
            return "cancelled"
        expected = MARKS.get(job.recipe.text)
        return "failed" if expected and expected in result.error else "wrong failure"
    difference = np.abs(result.pixels - alone[job.id.split("/")[1]]).max()
    return "wrong" if job.recipe.text in MARKS or difference > 1 else "right"


def _job(engine: BatchingEngine, load: Load, name: str, dice: random.Random) -> GenerationJob:
    card = load.registry.card(load.model)
    mode = dice.choice(card.modes)
    loras = ["", "", *list(card.loras)[:2]]
    guidance = dice.choice([1.0, 3.0, 7.5])
    params = {
        "resolution": f"{dice.choice(load.sides)}x{load.sides[0]}",
        "steps": dice.randint(*load.steps),
        "cfg_scale": guidance,
        "sampler": dice.choice(list(Sampler)).value,
        "negative_text": dice.choice(["", "blur"]) if guidance > 1 else "",
        "lora_name": dice.choice(loras),
    }
    inputs = _inputs(mode)
    fields = {"image": "image_url", "mask": "mask_url", "control": "control_image_url"}
    urls = {fields[given]: given for given in inputs}
    pictures = {name: picture for name, picture in inputs.items() if name != "control"}
    controls = [inputs["control"]] if "control" in inputs else []
    data = {"text": dice.choice(["a red mug", "ein blaues Hemd", "mug " * 30]), "model_type": load.model}
    request = parse_request({**data, "params": params, **urls}, load.registry)
    kind = engine.kind(load.model, request.params.resolution)
    recipe = plan_recipe(
        request, registry=load.registry, engine_kind=kind, seed=dice.randint(0, 9), controls=controls, **pictures
    )
    return GenerationJob(name, recipe, controls=controls, **pictures)


def _inputs(mode: Mode) -> dict[str, InputPicture]:
    from PIL import Image

    def picture() -> Image.Image:
        return Image.linear_gradient("L").convert("RGB")

    wanted = {
        Mode.TEXT2IMG: (),
        Mode.IMG2IMG: ("image",),
        Mode.INPAINT: ("image", "mask"),
        Mode.CONTROLNET: ("control",),
    }[mode]
    return {name: InputPicture("0" * 64, picture) for name in wanted}


def _pixels(engine: BatchingEngine, job: GenerationJob) -> "NDArray[np.int64]":
    import numpy as np

    (result,) = engine.generate([job])
    if isinstance(result, FailedImage):
        raise RuntimeError(f"job {job.id} failed: {result.error}")
    return result.pixels.astype(np.int64)


@contextmanager
def _failures() -> Iterator[None]:
    """Have the marked prompts fail in the middle of their batches, and large batches find no memory, while open."""
    import torch

    from models.denoising.slot import Slot
    from models.denoising.unet_model import UNetModel

    predict, advance = UNetModel.predict, Slot.advance

    def faulty_predict(self: Any, slots: "list[Slot]", *rest: Any) -> Sequence[torch.Tensor]:
        texts = {slot.recipe.text for slot in slots}
        if "raise" in texts:
            raise KeyError("no such key")
        if "memory" in texts or len(slots) > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, slots, *rest)

    def faulty_advance(self: "Slot", prediction: torch.Tensor) -> None:
        advance(self, prediction * float("nan") if self.recipe.text == "nan" else prediction)

    UNetModel.predict, Slot.advance = faulty_predict, faulty_advance  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        UNetModel.predict, Slot.advance = predict, advance  # type: ignore[method-assign]

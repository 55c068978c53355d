"""Pictures made in this process: by its engine, or by changing stored ones."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from configs.settings import PictureSettings
from foundation.map_ahead import map_ahead
from io_managers.image_set import MAX_STORED_PIXELS
from models.engine import Engine, GenerationJob
from models.image import FailedImage, GeneratedImage, InputPicture, open_picture, open_stored_picture
from models.picture_job import PictureJob, PictureOutcome
from models.recipe import PostStep
from models.resolution import Resolution
from models.statement import mark_step
from ops.catalog.pictures import INPUTS
from ops.finish import Failure, FinishedPicture, Finisher, failed_outcome, finish_job, job_plan
from ops.making.maker import OnStep
from ops.stages import Change
from resources.object_store import ObjectStore

_AHEAD = 5
"""Pictures that each thread has, and has waiting, at most."""


class EngineMaker:
    """Generates pictures with an engine, and finishes them in threads beside it.

    Args:
        settings: how many threads finish, and for how many pictures they may be behind.
    """

    def __init__(self, engine: Engine, finisher: Finisher, settings: PictureSettings) -> None:
        self._engine = engine
        self._finisher = finisher
        self._settings = settings

    def kind(self, model: str, size: Resolution) -> str:
        """See `PictureMaker.kind`."""
        return self._engine.kind(model, size)

    def ensure(self, jobs: Iterable[PictureJob], on_step: OnStep) -> Iterator[PictureOutcome]:
        """See `PictureMaker.ensure`."""
        under_way: dict[str, PictureJob] = {}

        def generation() -> Iterator[GenerationJob]:
            for job in jobs:
                under_way[job.id] = job
                yield generation_job(job, self._finisher.store, self._settings.max_input_pixels)

        def finished(result: GeneratedImage | FailedImage) -> PictureOutcome:
            job = under_way.pop(result.id)
            if isinstance(result, FailedImage):
                return failed_outcome(job, Failure(result.error, result.cause))
            return finish_job(job, lambda: self._finisher.finish(job_plan(job), result.pixels, result.seconds))

        results = self._engine.generate(generation(), on_step)
        threads, queue = self._settings.upload_workers, self._settings.upload_queue
        yield from (outcome for _, outcome in map_ahead(finished, results, threads=threads, ahead=threads + queue))


class ChangeMaker:
    """Does the last step of each job's recipe to the stored picture that it names.

    Args:
        redo: what a recorded step does.
        threads: pictures changed at once.
    """

    def __init__(self, redo: Callable[[PostStep], Change], finisher: Finisher, *, threads: int) -> None:
        self._redo = redo
        self._finisher = finisher
        self._threads = threads

    def kind(self, model: str, size: Resolution) -> str:
        """See `PictureMaker.kind`: no change depends on it."""
        return ""

    def ensure(self, jobs: Iterable[PictureJob], on_step: OnStep) -> Iterator[PictureOutcome]:
        """See `PictureMaker.ensure`."""
        ahead = _AHEAD * self._threads
        yield from (outcome for _, outcome in map_ahead(self._changed, jobs, threads=self._threads, ahead=ahead))

    def _changed(self, job: PictureJob) -> PictureOutcome:
        def finish() -> FinishedPicture:
            source = open_stored_picture(self._finisher.store.get(job.source_key), MAX_STORED_PIXELS)
            plan = replace(job_plan(job, self._redo), inputs=self._inputs(job))
            return self._finisher.finish(plan, source)

        return finish_job(job, finish)

    def _inputs(self, job: PictureJob) -> tuple[Callable[[], bytes], ...]:
        """The input pictures that were put into the store when the picture was generated, as far as they still are."""
        store, recipe = self._finisher.store, job.recipe
        keys = [f"{INPUTS}{digest}" for digest in recipe.input_digests]
        return tuple(partial(store.get, key) for key in keys if mark_step(recipe) and store.stat(key))


def generation_job(job: PictureJob, store: ObjectStore, max_pixels: int) -> GenerationJob:
    """The engine's job, whose input pictures are read when the engine needs them."""

    def picture(key: str, digest: str | None) -> InputPicture | None:
        return InputPicture(digest, lambda: open_picture(store.get(key), max_pixels)) if key and digest else None

    recipe = job.recipe
    return GenerationJob(
        job.id,
        recipe,
        picture(job.image_key, recipe.image_digest),
        picture(job.mask_key, recipe.mask_digest),
        [one for one in map(picture, job.all_control_keys, (c.digest for c in recipe.pinned_controls)) if one],
    )

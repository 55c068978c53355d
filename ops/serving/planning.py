"""What a claimed task comes to: its pictures, and for each the job that the engine gets if it is not stored already."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from configs.settings import Settings
from models.blocklist import Blocklist
from models.engine import Engine, GenerationJob
from models.picture_job import PictureJob
from models.planning import plan_recipe, row_seed
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import MAX_SEED, GenerationRequest, PostProcess
from models.resolution import Resolution
from ops.finish import PicturePlan, Thumbnail, job_plan
from ops.marking import user_step
from ops.serving.inputs import Inputs
from ops.serving.open_task import OpenTask
from ops.stages import Change, marking, redoing, upscaling, watermarking
from resources.object_store import ObjectStore
from resources.queue import Task, original_key, thumb_key

if TYPE_CHECKING:
    from PIL.Image import Image

_FACTORS = {"": 1, "2x": 2, "4x": 4}


@dataclass(frozen=True)
class PlannedPicture:
    """Picture `n` (from 1) of a task.

    Attributes:
        plan: what becomes of it once it is there.
        generation: the engine's job; reads input pictures, and raises as `Planner.plan` does.
        source: reads the stored picture that is changed instead, if that is all there is to do; raises likewise.
    """

    n: int
    plan: PicturePlan
    generation: Callable[[], GenerationJob]
    source: "Callable[[], Image] | None" = None


class Planner:
    """Settles everything that decides the pixels of requests and picture jobs on this engine."""

    def __init__(self, settings: Settings, registry: ModelRegistry, engine: Engine, store: ObjectStore) -> None:
        self._settings = settings
        self._registry = registry
        self._blocklist = Blocklist(settings.checks.blocked_words if settings.checks.moderation else ())
        self._engine = engine
        self._inputs = Inputs(settings, store)
        self._stages = (upscaling(settings), watermarking(settings))
        self._redo = redoing(settings)

    def plan(self, task: OpenTask) -> list[PlannedPicture]:
        """The task's pictures; the seed of each is one above that of the picture before it.

        Raises:
            RejectedError: if it has words that were blocked since it was submitted.
            ImageGenXError: if an input picture, a font, a logo or the model is not to be had.
            NotWantedError: if the task is closed meanwhile.
        """
        if task.job:
            return [self._of_job(task.job)]
        return self._of_request(task, task.request)

    def _of_job(self, job: PictureJob) -> PlannedPicture:
        recipe = job.recipe
        kind = "" if job.source_key else self._engine.kind(recipe.model, recipe.size)
        plan = job_plan(job, self._redo, engine=kind)

        def generation() -> GenerationJob:
            return GenerationJob(f"{job.id}/1", plan.generated, *self._inputs.of_job(job))

        source = partial(self._inputs.source, job.source_key) if job.source_key else None
        return PlannedPicture(1, plan, generation, source)

    def _of_request(self, open_task: OpenTask, request: GenerationRequest) -> list[PlannedPicture]:
        self._blocklist.check(request)
        image, mask, controls = self._inputs.of_request(request, lambda: not open_task.is_closed)
        kind = self._engine.kind(request.model_type, request.params.resolution)
        changes = self._changes(request.params.post_process, open_task.task.owner)
        inputs = tuple(picture.read for picture in (image, *controls) if picture)
        planned = []
        for n in range(1, request.params.num_images + 1):
            recipe = plan_recipe(
                request,
                registry=self._registry,
                engine_kind=kind,
                seed=_seed(open_task.task, request, n),
                image=image,
                mask=mask,
                controls=controls,
            )
            job = GenerationJob(f"{open_task.id}/{n}", recipe, image, mask, controls)
            plan = self._picture_plan(open_task.task, n, recipe, request.params.post_process, changes)
            plan = replace(plan, inputs=inputs)
            planned.append(PlannedPicture(n, plan, partial(_as_it_is, job)))
        return planned

    def _picture_plan(
        self, task: Task, n: int, recipe: Recipe, post: PostProcess, changes: tuple[Change, ...]
    ) -> PicturePlan:
        pictures, size = self._settings.pictures, _finished_size(recipe, post)
        key = original_key(task, n, size.width_px, size.height_px, post.format)
        thumbnail = Thumbnail(partial(thumb_key, task, n), pictures.thumbnail_px, pictures.thumbnail_quality)
        return PicturePlan(
            key=key,
            generated=recipe,
            format=post.format,
            quality=pictures.original_quality,
            changes=changes,
            moderate=bool(self._settings.checks.moderation),
            thumbnail=thumbnail,
            owner=task.owner,
            name=f"{task.id}~{n}",
        )

    def _changes(self, post: PostProcess, user: str) -> tuple[Change, ...]:
        changes = tuple(change for stage in self._stages if (change := stage.plan(post)))
        step = user_step(self._settings, user)
        return (*changes, marking(step)) if step else changes


def _as_it_is(job: GenerationJob) -> GenerationJob:
    return job


def _finished_size(recipe: Recipe, post: PostProcess) -> Resolution:
    """The size of the finished picture."""
    factor = _FACTORS[post.super_resolution]
    return Resolution(factor * recipe.width_px, factor * recipe.height_px)


def _seed(task: Task, request: GenerationRequest, n: int) -> int:
    first = request.params.seed
    return ((row_seed(task.id) if first is None else first) + n - 1) % (MAX_SEED + 1)

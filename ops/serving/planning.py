"""What a claimed task comes to: one job for the engine per picture, or a picture that is stored already."""

from dataclasses import dataclass

from configs.settings import Settings
from models.blocklist import Blocklist
from models.engine import Engine, GenerationJob
from models.planning import plan_recipe, row_seed
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import MAX_SEED, GenerationRequest, PostProcess
from models.resolution import Resolution
from ops.serving.inputs import RequestInputs
from ops.serving.open_task import OpenTask
from ops.stages import Change, upscaling, watermarking
from resources.object_store import ObjectStore
from resources.queue import Task

_FACTORS = {"": 1, "2x": 2, "4x": 4}


@dataclass(frozen=True)
class PlannedPicture:
    """Picture `n` (from 1) of a task: the job that generates it, and the changes made to it after."""

    n: int
    job: GenerationJob
    changes: tuple[Change, ...]

    @property
    def recipe(self) -> Recipe:
        """The recipe of the finished picture."""
        recipe = self.job.recipe
        for change in self.changes:
            recipe = recipe.with_step(change.step)
        return recipe


class Planner:
    """Settles everything that decides the pixels of requests on this engine."""

    def __init__(self, settings: Settings, registry: ModelRegistry, engine: Engine, store: ObjectStore) -> None:
        self._registry = registry
        self._blocklist = Blocklist(settings.checks.blocked_words if settings.checks.moderation else ())
        self._engine = engine
        self._inputs = RequestInputs(settings, store)
        self._stages = (upscaling(settings), watermarking(settings))

    def plan(self, open_task: OpenTask) -> list[PlannedPicture]:
        """The task's pictures; the seed of each is one above that of the picture before it.

        Raises:
            RejectedError: if it has words that were blocked since it was submitted.
            ImageGenXError: if an input picture, a font, a logo or the model is not to be had.
            NotWantedError: if the task is closed meanwhile.
        """
        task, request = open_task.task, open_task.request
        self._blocklist.check(request)
        image, mask, control = self._inputs.of(request, lambda: not open_task.is_closed)
        kind = self._engine.kind(request.model_type, request.params.resolution)
        changes = self._changes(request.params.post_process)
        planned = []
        for n in range(1, request.params.num_images + 1):
            recipe = plan_recipe(
                request,
                registry=self._registry,
                engine_kind=kind,
                seed=_seed(task, request, n),
                image=image,
                mask=mask,
                control=control,
            )
            planned.append(PlannedPicture(n, GenerationJob(f"{task.id}/{n}", recipe, image, mask, control), changes))
        return planned

    def _changes(self, post: PostProcess) -> tuple[Change, ...]:
        return tuple(change for stage in self._stages if (change := stage.plan(post)))


def finished_size(recipe: Recipe, post: PostProcess) -> Resolution:
    """The size of the finished picture."""
    factor = _FACTORS[post.super_resolution]
    return Resolution(factor * recipe.width_px, factor * recipe.height_px)


def _seed(task: Task, request: GenerationRequest, n: int) -> int:
    first = request.params.seed
    return ((row_seed(task.id) if first is None else first) + n - 1) % (MAX_SEED + 1)

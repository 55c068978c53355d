"""The engine: turns jobs into pictures, in batches of what one forward pass can share."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from configs.settings import EngineSettings
from models.errors import ImageGenXError, ModelError
from models.families import FAMILIES, load_family
from models.families.base import BatchItem, BatchResult, LoraUse, OnBatchStep
from models.image import FailedImage, GeneratedImage, InputPicture
from models.input_pictures import fit_mask, fit_picture, keep_unmasked
from models.pipeline_pool import PipelinePool, PoolKey, process_pool
from models.placement import Placement, choose_placement
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.request import Mode

if TYPE_CHECKING:
    from models.families.base import ModelFamily

logger = logging.getLogger(__name__)

LOOK_AHEAD_BATCHES = 8
"""Full batches of jobs read ahead, in search of company for the oldest one."""

_INPUTS = {
    Mode.TEXT2IMG: frozenset[str](),
    Mode.IMG2IMG: frozenset({"image"}),
    Mode.INPAINT: frozenset({"image", "mask"}),
    Mode.CONTROLNET: frozenset({"control"}),
}

OnStep = Callable[[str, int, int], None]
"""Called after each denoising step with the job's id, the steps done and the steps to do."""


@dataclass(frozen=True)
class GenerationJob:
    """One picture to make; `id` is the caller's and comes back with the picture."""

    id: str
    recipe: Recipe
    image: InputPicture | None = None
    mask: InputPicture | None = None
    control: InputPicture | None = None


@dataclass(frozen=True)
class _ReadyJob:
    job: GenerationJob
    item: BatchItem


class Engine(Protocol):
    """Makes pictures from jobs; the catalog runs and the serving runs share it."""

    def kind(self, model: str) -> str:
        """How pictures of this model are computed here, for recipes: `eager/cpu/float32`."""
        ...

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """One result per job, in any order, as they are finished; jobs are read lazily, a bounded number ahead."""
        ...

    def release(self) -> None:
        """Give the memory of this engine's models back; the next job loads them again."""
        ...


class PipelineEngine:
    """An engine that runs diffusers' own pipelines over groups of equal parameters.

    A job that cannot be done fails alone: a batch that raises is run again one by one, and a model that cannot be
    loaded fails only its own jobs.
    """

    def __init__(self, registry: ModelRegistry, settings: EngineSettings, pool: PipelinePool | None = None) -> None:
        self._registry = registry
        self._settings = settings
        self._pool = pool or process_pool()
        self._leased: set[PoolKey] = set()

    def kind(self, model: str) -> str:
        """See `Engine.kind`; AcceleratorError if the model's accelerator or device is not available."""
        return self._placement(model).kind

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """See `Engine.generate`; the oldest waiting job picks the next batch, so none waits for ever."""
        _use_threads(self._settings.threads)
        source, waiting = iter(jobs), list[GenerationJob]()
        unloadable: dict[str, str] = {}
        while True:
            waiting += islice(source, self._settings.max_batch_size * LOOK_AHEAD_BATCHES - len(waiting))
            if not waiting:
                return
            batch = self._next_batch(waiting)
            yield from self._run(batch, on_step or _ignore_step, unloadable)

    def release(self) -> None:
        """See `Engine.release`."""
        self._pool.release(self._leased)
        self._leased.clear()

    def _next_batch(self, waiting: list[GenerationJob]) -> list[GenerationJob]:
        """Take the oldest job and those that can share its batch out of `waiting`."""
        shared = _shared(waiting[0].recipe)
        limit = self._batch_limit(waiting[0].recipe.model)
        batch = list(islice((job for job in waiting if _shared(job.recipe) == shared), limit))
        taken = set(map(id, batch))
        waiting[:] = [job for job in waiting if id(job) not in taken]
        return batch

    def _batch_limit(self, model: str) -> int:
        if model not in self._registry.names:
            return 1
        family = FAMILIES[self._registry.card(model).family]
        return min(self._settings.max_batch_size, family.max_batch_size or self._settings.max_batch_size)

    def _run(
        self, batch: Sequence[GenerationJob], on_step: OnStep, unloadable: dict[str, str]
    ) -> Iterator[GeneratedImage | FailedImage]:
        model = batch[0].recipe.model
        if model in unloadable:
            yield from (FailedImage(job.id, job.recipe, unloadable[model]) for job in batch)
            return
        ready: list[_ReadyJob] = []
        for job in batch:
            try:
                self._check(job.recipe)
                _check_inputs(job)
                ready.append(_ReadyJob(job, _item(job)))
            except Exception as exc:
                yield _failed(job, exc)
        if ready:
            yield from self._infer(ready, on_step, unloadable)

    def _infer(
        self, ready: Sequence[_ReadyJob], on_step: OnStep, unloadable: dict[str, str]
    ) -> Iterator[GeneratedImage | FailedImage]:
        """Results of one forward batch; if it raises, of each of its jobs alone."""
        jobs = [one.job for one in ready]

        def tell(done: int, total: int) -> None:
            for job in jobs:
                on_step(job.id, done, total)

        try:
            result = self._infer_batch([one.item for one in ready], tell, unloadable)
        except Exception as exc:
            failure = exc
        else:
            yield from _finished(ready, result)
            return
        # Outside of the except block, so that the failed batch's tensors are free by now.
        if len(ready) == 1 or jobs[0].recipe.model in unloadable:
            yield from (_failed(job, failure) for job in jobs)
            return
        logger.warning("a batch of %d failed (%s); its jobs run one by one", len(jobs), failure)
        del failure
        for one in ready:
            yield from self._infer([one], on_step, unloadable)

    def _infer_batch(self, items: Sequence[BatchItem], tell: OnBatchStep, unloadable: dict[str, str]) -> BatchResult:
        recipe = items[0].recipe
        card, placement = self._registry.card(recipe.model), self._placement(recipe.model)
        key = PoolKey(recipe.release, placement.accelerator, placement.device, placement.dtype)
        self._leased.add(key)

        def load() -> "ModelFamily":
            try:
                return load_family(card, placement)
            except ModelError as exc:
                unloadable[card.name] = str(exc)
                raise

        with self._pool.lease(key, load, self._settings.max_warm_models) as family:
            return family.infer(items, self._lora(recipe), tell)

    def _placement(self, model: str) -> Placement:
        return choose_placement(self._registry.card(model), self._settings)

    def _lora(self, recipe: Recipe) -> LoraUse | None:
        if not recipe.lora_name:
            return None
        path = self._registry.card(recipe.model).lora_path(recipe.lora_name)
        return LoraUse(path, f"lora_{recipe.lora_digest[:16]}", recipe.lora_weight)

    def _check(self, recipe: Recipe) -> None:
        """Refuse a recipe that this engine would not keep: pictures must be what their recipe says."""
        if (release := self._registry.release(recipe.model)) != recipe.release:
            raise ModelError(
                f"the recipe is for release {recipe.release[:12]} of model '{recipe.model}', "
                f"but the one here is {release[:12]}."
            )
        if (kind := self.kind(recipe.model)) != recipe.engine:
            raise ModelError(f"the recipe is for engine {recipe.engine}, but this one is {kind}.")
        if recipe.lora_name and self._registry.lora_digest(recipe.model, recipe.lora_name) != recipe.lora_digest:
            raise ModelError(f"the recipe is for another version of LoRA '{recipe.lora_name}'.")


def _shared(recipe: Recipe) -> tuple[object, ...]:
    """What the jobs of one batch have in common."""
    return (
        recipe.model,
        recipe.lora_digest,
        recipe.lora_weight,
        recipe.mode,
        recipe.size,
        recipe.steps,
        recipe.cfg_scale,
        recipe.sampler,
        recipe.strength,
    )


def _check_inputs(job: GenerationJob) -> None:
    """Refuse a job whose pictures are not those its recipe and mode speak of."""
    recipe = job.recipe
    for name, picture in (("image", job.image), ("mask", job.mask), ("control", job.control)):
        wanted, given = getattr(recipe, f"{name}_digest"), picture.digest if picture else None
        if (wanted is not None) != (name in _INPUTS[recipe.mode]):
            raise ModelError(
                f"the recipe is for {recipe.mode}, but {name}_digest is {'missing' if wanted is None else 'given'}."
            )
        if wanted != given:
            meant, found = (f"picture {digest[:12]}" if digest else "no picture" for digest in (wanted, given))
            raise ModelError(f"the recipe's {name} is {meant}, but {found} was given.")


def _item(job: GenerationJob) -> BatchItem:
    """The job with its input pictures decoded and cut to size; PictureError if one cannot be."""
    size = job.recipe.size
    source = job.image.load() if job.image else None
    return BatchItem(
        job.recipe,
        image=fit_picture(source, size) if source else None,
        mask=fit_mask(job.mask.load(), source, size) if job.mask and source else None,
        control=fit_picture(job.control.load(), size) if job.control else None,
    )


def _finished(ready: Sequence[_ReadyJob], result: BatchResult) -> Iterator[GeneratedImage]:
    share = {stage: seconds / len(ready) for stage, seconds in result.seconds.items()}
    for one, pixels in zip(ready, result.pixels, strict=True):
        item = one.item
        if item.image and item.mask:
            pixels = keep_unmasked(pixels, item.image, item.mask)
        yield GeneratedImage(one.job.id, pixels, item.recipe, share)


def _failed(job: GenerationJob, exc: Exception) -> FailedImage:
    if isinstance(exc, ImageGenXError):
        return FailedImage(job.id, job.recipe, str(exc))
    logger.error("job %s failed", job.id, exc_info=exc)
    return FailedImage(job.id, job.recipe, f"generation failed: {type(exc).__name__}: {exc}")


def _ignore_step(job_id: str, done: int, total: int) -> None:
    pass


@cache
def _use_threads(threads: int | None) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)

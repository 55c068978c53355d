"""The engine: turns jobs into pictures, in batches of what one forward pass can share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from configs.settings import EngineSettings
from foundation.problems import Problem
from models.admission import model_problems
from models.batching.failures import failed
from models.batching.feed import Feed
from models.batching.runner import FamilyRunner
from models.batching.step_loop import StepLoop
from models.batching.ticket import Listener, Ticket
from models.card import ModelCard
from models.errors import InvalidRequestError, ModelError
from models.heap import keep_freed_memory
from models.image import BatchItem, FailedImage, GeneratedImage, InputPicture
from models.input_pictures import fit_control, fit_mask, fit_picture
from models.pipeline_pool import PipelinePool, process_pool
from models.placement import Placement
from models.recipe import INPUT_READING, Recipe
from models.registry import ModelRegistry
from models.request import Mode, Priority
from models.resolution import Resolution

LOOK_AHEAD_BATCHES = 8
"""Full batches of jobs read ahead, in search of company for the oldest one."""

_INPUTS = {
    Mode.TEXT2IMG: frozenset[str](),
    Mode.IMG2IMG: frozenset({"image"}),
    Mode.INPAINT: frozenset({"image", "mask"}),
    Mode.CONTROLNET: frozenset[str](),
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
    controls: Sequence[InputPicture] = ()


class Engine(Protocol):
    """Makes pictures from jobs; the catalog runs and the serving runs share it."""

    def kind(self, model: str, size: Resolution) -> str:
        """How pictures of this model and size are computed here, for recipes: `eager/cpu/float32`."""
        ...

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """One result per job, in any order, as they are finished; jobs are read lazily, a bounded number ahead."""
        ...

    def release(self) -> None:
        """Give the memory of this engine's models back; the next job loads them again."""
        ...


class BatchingEngine:
    """The engine of this process's warm models: every job of every caller goes through its one loop.

    Jobs of Stable Diffusion models join and leave between single denoising steps; other families run batches of equal
    parameters. A job that cannot be done fails alone.
    """

    def __init__(self, registry: ModelRegistry, settings: EngineSettings, pool: PipelinePool | None = None) -> None:
        self._registry = registry
        self._settings = settings
        self._runner = FamilyRunner(registry, settings, process_pool() if pool is None else pool)
        self._loop = StepLoop(self._runner, settings.max_batch_wait_ms / 1000)

    def kind(self, model: str, size: Resolution) -> str:
        """See `Engine.kind`; AcceleratorError if the model's accelerator or device is not available."""
        return self.placement(model).kind(size)

    def placement(self, model: str) -> Placement:
        """Where and how a model computes here; AcceleratorError if it cannot."""
        return self._runner.placement(model)

    def models(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The models in memory, and those that are being fetched."""
        return self._runner.loaded(), self._runner.fetching()

    def submit(
        self, job: GenerationJob, listener: Listener, priority: Priority = Priority.INTERACTIVE
    ) -> Ticket | None:
        """Let a job join the running ones at their next step.

        Args:
            listener: hears of its steps and, once, of its end, from the engine's thread.
        Returns:
            what `cancel` takes; None if the job has already failed, which the listener was told.
        """
        ticket = self._ticket(job, listener, priority)
        if isinstance(ticket, FailedImage):
            listener.ended(ticket)
            return None
        self._loop.submit(ticket)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Take a job out before its next step; it ends as a FailedImage whose error is `cancelled`."""
        self._loop.cancel(ticket)

    def generate(
        self, jobs: Iterable[GenerationJob], on_step: OnStep | None = None
    ) -> Iterator[GeneratedImage | FailedImage]:
        """See `Engine.generate`; `on_step` is called in the caller's thread, as results are asked for."""
        feed = Feed(self, iter(jobs), self._settings.max_batch_size * LOOK_AHEAD_BATCHES)
        try:
            yield from feed.results(on_step or _ignore_step)
        finally:
            feed.close()

    def announce(self, more: bool) -> None:
        """Say that jobs are about to be submitted, worth a short wait for their company; and later, that none are."""
        self._loop.announce(1 if more else -1)

    def release(self) -> None:
        """See `Engine.release`; waits for the jobs under way."""
        self._loop.finish()
        self._runner.release()

    def _ticket(self, job: GenerationJob, listener: Listener, priority: Priority) -> Ticket | FailedImage:
        _prepare_process(self._settings.threads)
        try:
            self._check(job.recipe)
            _check_inputs(job)
            group = self._runner.group(job.recipe)
            tokens = self._runner.tokens(job.recipe)
            return Ticket(job.id, _item(job), group, listener, priority, steps_left=job.recipe.steps, tokens=tokens)
        except Exception as exc:
            return failed(job.id, job.recipe, exc)

    def _check(self, recipe: Recipe) -> None:
        """Refuse a recipe that this engine would not keep: pictures must be what their recipe says.

        Recipes come from files too, so what a model can do is checked here as it is for requests.
        """
        if (release := self._registry.release(recipe.model)) != recipe.release:
            raise ModelError(
                f"the recipe is for release {recipe.release[:12]} of model '{recipe.model}', "
                f"but the one here is {release[:12]}."
            )
        if (kind := self.kind(recipe.model, recipe.size)) != recipe.engine:
            raise ModelError(f"the recipe is for engine {recipe.engine}, but this one is {kind}.")
        if recipe.has_inputs and recipe.input_reading != INPUT_READING:
            given = recipe.input_reading or "1"
            raise ModelError(f"the recipe is for reading {given} of input pictures, but this is {INPUT_READING}.")
        if problems := list(_beyond_model(self._registry.card(recipe.model), recipe)):
            raise InvalidRequestError(problems)
        for lora in recipe.pinned_loras:
            if self._registry.lora_digest(recipe.model, lora.name) != lora.digest:
                raise ModelError(f"the recipe is for another version of LoRA '{lora.name}'.")


def _beyond_model(card: ModelCard, recipe: Recipe) -> Iterator[Problem]:
    return model_problems(
        card,
        mode=recipe.mode,
        resolution=recipe.size,
        sampler=recipe.sampler,
        schedule=recipe.schedule,
        step_cache=recipe.step_cache,
        loras={
            "params.lora_name" if recipe.loras is None else f"params.loras.{place}.name": lora.name
            for place, lora in enumerate(recipe.pinned_loras)
        },
        controlnets={f"controls.{place}.model": control.model for place, control in enumerate(recipe.pinned_controls)},
        texts={"text": recipe.text, "params.negative_text": recipe.negative_text},
    )


def _check_inputs(job: GenerationJob) -> None:
    """Refuse a job whose pictures are not those its recipe and mode speak of."""
    recipe = job.recipe
    for name, picture in (("image", job.image), ("mask", job.mask)):
        wanted, given = getattr(recipe, f"{name}_digest"), picture.digest if picture else None
        if (wanted is not None) != (name in _INPUTS[recipe.mode]):
            raise ModelError(
                f"the recipe is for {recipe.mode}, but {name}_digest is {'missing' if wanted is None else 'given'}."
            )
        if wanted != given:
            meant, found = (f"picture {digest[:12]}" if digest else "no picture" for digest in (wanted, given))
            raise ModelError(f"the recipe's {name} is {meant}, but {found} was given.")
    _check_controls(job)


def _check_controls(job: GenerationJob) -> None:
    recipe = job.recipe
    wanted = [control.digest[:12] for control in recipe.pinned_controls]
    if bool(wanted) != (recipe.mode is Mode.CONTROLNET):
        raise ModelError(f"the recipe is for {recipe.mode}, but its control pictures are {len(wanted)}.")
    if wanted != (given := [picture.digest[:12] for picture in job.controls]):
        meant, found = (f"pictures {', '.join(names)}" if names else "no picture" for names in (wanted, given))
        raise ModelError(f"the recipe's control is {meant}, but {found} was given.")


def _item(job: GenerationJob) -> BatchItem:
    """The job with its input pictures decoded and cut to size; PictureError if one cannot be."""
    size, controls = job.recipe.size, zip(job.controls, job.recipe.pinned_controls, strict=True)
    source = job.image.load() if job.image else None
    return BatchItem(
        job.recipe,
        image=fit_picture(source, size) if source else None,
        mask=fit_mask(job.mask.load(), source.size, size) if job.mask and source else None,
        controls=[fit_control(picture.load(), size, control.preprocess) for picture, control in controls],
    )


def _ignore_step(job_id: str, done: int, total: int) -> None:
    pass


@cache
def _prepare_process(threads: int | None) -> None:
    keep_freed_memory()
    if threads:
        import torch

        torch.set_num_threads(threads)

"""Turns computed by model families: one step of many requests, or the whole run of a batch."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from configs.settings import EngineSettings
from models.acceleration.building import process_builds
from models.batching.failures import failed
from models.batching.paced_run import PacedRun
from models.batching.step_loop import Report
from models.batching.step_queue import Turn
from models.batching.ticket import Group, Ticket
from models.batching.whole_runs import run_whole
from models.card import ModelCard
from models.errors import ModelLoadError, OutOfMemoryError
from models.families.base import StepFamily
from models.families.loading import load_failure, load_family
from models.family_table import FAMILIES
from models.hub import fetch_missing, is_missing
from models.image import FailedImage, GeneratedImage
from models.input_pictures import keep_unmasked
from models.lora import LoraUse, lora_keys
from models.model_traits import Guidance
from models.pipeline_pool import PipelinePool, PoolKey
from models.placement import Placement, choose_placement
from models.recipe import Recipe
from models.registry import ModelRegistry
from models.resolution import MULTIPLE_PX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.denoising.slot import Slot
    from models.families.base import ModelFamily

logger = logging.getLogger(__name__)

_UNLOADABLE_S = 30.0
"""A model that could not be loaded is not tried again for so long."""


@dataclass(frozen=True)
class _Unloadable:
    """Why a model could not be loaded, and when it may be tried again.

    Text instead of the exception, whose traceback would hold what was loaded, and a frame more each time it is raised.
    """

    until_s: float
    kind: type[ModelLoadError | OutOfMemoryError]
    reason: str


class FamilyRunner:
    """Runs turns on the models of a pool."""

    def __init__(self, registry: ModelRegistry, settings: EngineSettings, pool: PipelinePool) -> None:
        self._registry = registry
        self._settings = settings
        self._pool = pool
        self._used: dict[PoolKey, str] = {}
        self._unloadable: dict[PoolKey, _Unloadable] = {}
        self._on_their_way: set[str] = set()
        self._run: PacedRun | None = None
        self._run_key: PoolKey | None = None

    def group(self, recipe: Recipe) -> Group:
        """What requests like this one share: the model, its LoRAs and the size; more where a family runs as a whole."""
        loras = tuple((lora.digest, lora.weight) for lora in recipe.pinned_loras)
        family = FAMILIES[self._registry.card(recipe.model).family]
        shared: tuple[object, ...] = (loras,) if family.mixes_sizes else (loras, recipe.size)
        if not family.by_step:
            shared += (recipe.mode, recipe.steps, recipe.cfg_scale, recipe.sampler, recipe.strength)
        placement = self.placement(recipe.model)
        key = PoolKey(recipe.release, placement.accelerator, placement.device, placement.dtype)
        return Group(recipe.model, key, shared)

    def placement(self, model: str) -> Placement:
        """How the model runs here; AcceleratorError if it cannot."""
        return choose_placement(self._registry.card(model), self._settings)

    def loaded(self) -> tuple[str, ...]:
        """The models that this runner has in memory."""
        return tuple(sorted({model for key, model in list(self._used.items()) if key in self._pool}))

    def fetching(self) -> tuple[str, ...]:
        """The models that are on their way here."""
        return tuple(sorted(self._on_their_way))

    def batch_limit(self, group: Group) -> int:
        """See `Groups`."""
        family = FAMILIES[self._registry.card(group.model).family]
        return min(self._settings.max_batch_size, family.max_batch_size or self._settings.max_batch_size)

    def token_limit(self) -> int:
        """See `Groups`."""
        return self._settings.max_batch_tokens

    def tokens(self, recipe: Recipe) -> int:
        """Those of a picture in each pass of a diffusion transformer; 0 for other models."""
        card = self._registry.card(recipe.model)
        side_px = FAMILIES[card.family].multiple_px
        if not FAMILIES[card.family].by_step or side_px == MULTIPLE_PX:
            return 0
        is_guided = card.traits.guidance is Guidance.SECOND_PROMPT and recipe.cfg_scale > 1
        return recipe.size.pixels // side_px**2 * (1 + is_guided)

    def is_loaded(self, group: Group) -> bool:
        """See `Groups`."""
        settings = self._settings
        return group.key in self._pool or self._pool.has_room(settings.max_warm_models, settings.vram_budget_bytes)

    def is_away(self, group: Group) -> bool:
        """See `Groups`."""
        if group.model in self._on_their_way:
            return True
        if self._run is None or group.key == self._run_key:
            return False
        # One run at a time is stopped between steps, and its model cannot make room.
        return not (FAMILIES[self._registry.card(group.model).family].by_step and self.is_loaded(group))

    def advance(self, turn: Turn, report: Report) -> None:
        """See `Runner`."""
        group, tickets = turn
        try:
            self._advance(group, tickets, report)
        except Exception as exc:
            for ticket in tickets:
                report.ended(ticket, failed(ticket.id, ticket.item.recipe, exc))

    def release(self) -> None:
        """Give the models' memory back; only while no turn runs."""
        self._pool.release(self._used)
        self._used.clear()
        self._unloadable.clear()

    def _advance(self, group: Group, tickets: Sequence[Ticket], report: Report) -> None:
        key, recipe = group.key, tickets[0].item.recipe
        self._used[key] = recipe.model
        failure = self._unloadable.get(key)
        if failure and time.monotonic() < failure.until_s:
            raise failure.kind(failure.reason)
        card = self._registry.card(recipe.model)
        if key not in self._pool and FAMILIES[card.family].from_hub and is_missing(card):
            self._send_for(key, card, report)
            return
        limit, budget = self._settings.max_warm_models, self._settings.vram_budget_bytes
        lease = self._pool.lease(key, lambda: self._load(key, recipe.model), limit, budget)
        if not FAMILIES[card.family].by_step:
            self._go_on(key, lease, self._loras(recipe), tickets, report)
            return
        with lease as family:
            assert isinstance(family, StepFamily)
            _one_step(family, self._loras(recipe), tickets, report, self._tile_px)

    def _go_on(
        self,
        key: PoolKey,
        lease: AbstractContextManager["ModelFamily"],
        loras: Sequence[LoraUse],
        tickets: Sequence[Ticket],
        report: Report,
    ) -> None:
        """One step of the run that is under way, or of a new one of these tickets."""
        if self._run is None:
            held = ExitStack()
            family = held.enter_context(lease)
            self._run_key = key
            self._run = PacedRun(tickets, lambda pause: run_whole(family, loras, tickets, report, pause), held)
        run = self._run
        try:
            run.go_on()
        except Exception as exc:
            for ticket in run.tickets:
                report.ended(ticket, failed(ticket.id, ticket.item.recipe, exc))
        finally:
            if run.is_over:
                self._run = None

    def _tile_px(self, recipe: Recipe) -> int | None:
        return self.placement(recipe.model).tile_px(recipe.size)

    def _send_for(self, key: PoolKey, card: ModelCard, report: Report) -> None:
        """Have the model fetched, which takes minutes, while the models at hand go on."""
        thread = threading.Thread(target=self._fetch, args=(key, card, report), name="imagegenx-fetching", daemon=True)
        self._on_their_way.add(card.name)
        try:
            thread.start()
        except RuntimeError:  # no more threads here: nobody would say that the model is back
            self._on_their_way.discard(card.name)
            raise

    def _fetch(self, key: PoolKey, card: ModelCard, report: Report) -> None:
        try:
            with process_builds().run(f"model '{card.name}'", "fetching"):
                fetch_missing(card)
        except Exception as exc:
            self._note_unloadable(key, load_failure(card, self.placement(card.name), exc))
        finally:
            self._on_their_way.discard(card.name)
            report.is_back()

    def _load(self, key: PoolKey, model: str) -> "ModelFamily":
        try:
            family = load_family(self._registry.card(model), self.placement(model), key.release)
            if self._registry.release_now(model) != key.release:
                family.release()
                raise ModelLoadError(f"model '{model}': its files changed while it was loaded. Ask again.")
        except (ModelLoadError, OutOfMemoryError) as exc:
            self._note_unloadable(key, exc)
            raise
        self._unloadable.pop(key, None)
        return family

    def _note_unloadable(self, key: PoolKey, failure: ModelLoadError | OutOfMemoryError) -> None:
        self._unloadable[key] = _Unloadable(time.monotonic() + _UNLOADABLE_S, type(failure), str(failure))

    def _loras(self, recipe: Recipe) -> tuple[LoraUse, ...]:
        card = self._registry.card(recipe.model)
        return tuple(LoraUse(card.lora_path(lora.name), lora.weight, lora.digest) for lora in recipe.pinned_loras)


def _one_step(
    family: StepFamily,
    loras: Sequence[LoraUse],
    tickets: Sequence[Ticket],
    report: Report,
    tile_px: Callable[[Recipe], int | None],
) -> None:
    family.use_loras(loras)
    for ticket in tickets:
        if ticket.state is None:
            _start(family, loras, ticket, report)
    running = {cast("Slot", ticket.state): ticket for ticket in tickets if not ticket.is_ended}

    def fail(slot: "Slot", exc: Exception) -> None:
        ticket = running[slot]
        report.ended(ticket, failed(ticket.id, slot.recipe, exc))

    for slot, ticket in running.items():
        slot.wants_estimate = ticket.wants_preview
    family.stepper.step(list(running), fail)
    for slot, ticket in running.items():
        if not ticket.is_ended:
            _show(family, slot, ticket)
            report.stepped(ticket, slot.sampling.done, slot.sampling.total)
            if slot.sampling.is_done:
                _finish(family, slot, ticket, report, tile_px(slot.recipe))


def _show(family: StepFamily, slot: "Slot", ticket: Ticket) -> None:
    """Show somebody who watches how far it is; where that fails, the picture itself goes on."""
    if slot.estimate is None or ticket.on_preview is None:
        return
    ticket.wants_preview = False
    try:
        ticket.on_preview(family.stepper.preview(slot))
    except Exception:
        logger.exception("no preview of job %s", ticket.id)


def _start(family: StepFamily, loras: Sequence[LoraUse], ticket: Ticket, report: Report) -> None:
    try:
        slot = family.stepper.start(ticket.item, lora_keys(loras))
        ticket.state, ticket.seconds = slot, slot.seconds
    except Exception as exc:
        report.ended(ticket, failed(ticket.id, ticket.item.recipe, exc))


def _finish(family: StepFamily, slot: "Slot", ticket: Ticket, report: Report, tile_px: int | None) -> None:
    def decoded(outcome: "NDArray[np.uint8] | Exception") -> None:
        report.ended(ticket, _result(ticket, slot, outcome))

    ticket.has_left = True
    family.stepper.decode(slot, decoded, tile_px)


def _result(ticket: Ticket, slot: "Slot", outcome: "NDArray[np.uint8] | Exception") -> GeneratedImage | FailedImage:
    """Never raises: it is called where pictures are decoded, and nobody there could tell the ticket."""
    if isinstance(outcome, Exception):
        return failed(ticket.id, slot.recipe, outcome)
    item = slot.item
    try:
        pixels = keep_unmasked(outcome, item.image, item.mask) if item.image and item.mask else outcome
    except Exception as exc:
        return failed(ticket.id, slot.recipe, exc)
    return GeneratedImage(ticket.id, pixels, slot.recipe, slot.seconds)

"""The models that a request may name: what each can do, and whether it is in memory, on its way, or of no use here."""

from collections.abc import Mapping

from gateway.errors import service_errors
from models.card import ModelCard
from models.hub import is_missing
from models.registry import ModelRegistry
from models.request import DEFAULT_CFG_SCALE
from models.sampler import SCHEDULES
from resources.queue import QueueUnavailableError, RequestQueue


class ModelStates:
    """The models of one registry, as the live workers have them."""

    def __init__(self, registry: ModelRegistry, queue: RequestQueue) -> None:
        self._registry, self._queue = registry, queue

    @service_errors()
    def all(self) -> dict[str, object]:
        """The models that can be asked for, and why others cannot; without a queue, as the cards say."""
        unusable, workers = self._unusable(), self._workers()
        cards = [self._registry.card(name) for name in self._registry.names if name not in unusable]
        bad = {card.name: card.reason for card in self._registry.bad_cards}
        return {
            "models": [{**_abilities(card), "state": _state(card, *workers)} for card in cards],
            "unusable": [{"name": name, "reason": reason} for name, reason in sorted({**unusable, **bad}.items())],
            "default_model": self._registry.default_model,
        }

    @service_errors()
    def names(self) -> list[str]:
        """Those that can be asked for."""
        unusable = self._unusable()
        return [name for name in self._registry.names if name not in unusable]

    def _unusable(self) -> dict[str, str]:
        try:
            told = self._queue.unusable()
        except QueueUnavailableError:
            return {}
        return {name: reason for name, reason in told.items() if name in self._registry.names}

    def _workers(self) -> tuple[set[str], set[str]]:
        """The models that some worker has in memory, and that one fetches."""
        try:
            workers = self._queue.workers()
        except QueueUnavailableError:
            return set(), set()
        return {name for one in workers for name in one.loaded}, {name for one in workers for name in one.fetching}


def _state(card: ModelCard, loaded: set[str], fetching: set[str]) -> str:
    """`loaded`: at once; `here`: after loading; `fetching`, `to_fetch`: after minutes."""
    if card.name in loaded:
        return "loaded"
    if card.name in fetching:
        return "fetching"
    return "to_fetch" if is_missing(card) else "here"


def _abilities(card: ModelCard) -> Mapping[str, object]:
    defaults = {"steps": 50, "cfg_scale": DEFAULT_CFG_SCALE, "sampler": "Euler", **card.request_defaults()}
    limits = card.limits
    return {
        "name": card.name,
        "description": card.description,
        "description_zh": card.description_zh,
        "examples": list(card.examples),
        "modes": [mode.value for mode in card.modes],
        "samplers": [sampler.value for sampler in card.possible_samplers],
        "schedules": {sampler.value: [one.value for one in SCHEDULES[sampler]] for sampler in card.possible_samplers},
        "loras": list(card.loras),
        "controlnets": list(card.controlnets),
        "min_side_px": limits.min_side_px,
        "max_side_px": limits.max_side_px,
        "max_pixels": limits.max_pixels,
        "defaults": {name: str(value) if name == "resolution" else value for name, value in defaults.items()},
    }

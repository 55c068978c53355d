"""The requests of a batch: texts that share everything else, or items that each say what is their own."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from foundation.problems import Problem, shown
from gateway.errors import bad_field
from models.errors import InvalidRequestError

MAX_BATCH = 20

_SHARED = ("params", "model_type", "callback_url", "callback_events", "metadata", "priority")
OF_ALL = ("callback_url", "callback_events", "priority")
"""What no item has for itself."""
_MERGED = ("params", "metadata")
"""What an item says here goes over what stands beside the items, name by name."""


@dataclass(frozen=True)
class BatchItem:
    """One request of a batch, under its place, like `texts.3`; `own` are the fields that it says itself, dotted."""

    data: Mapping[str, object]
    place: str
    own: Collection[str] = ()

    def field(self, name: str) -> str:
        """What the caller calls a field of this request."""
        if self.place.startswith("texts"):
            return self.place if name == "text" else name
        parts = name.split(".")
        said = ".".join(parts[: 2 if parts[0] in _MERGED else 1])
        return f"{self.place}.{name}" if said in self.own else name


def batch_items(data: Mapping[str, object]) -> Iterator[BatchItem]:
    """The requests of a batch, in order.

    Raises:
        ServiceError, InvalidRequestError: for what is no batch; a request itself may still be wrong.
    """
    if unknown := [name for name in data if name not in ("texts", "items", *_SHARED)]:
        raise InvalidRequestError([Problem(str(name)[:80], "unknown field of a batch") for name in unknown[:100]])
    if "texts" in data and "items" in data:
        raise bad_field("items", "given beside texts; give the one or the other")
    shared = {name: value for name, value in data.items() if name in _SHARED}
    name = "items" if "items" in data else "texts"
    for place, given in enumerate(_list(data, name)):
        yield _item(shared, given, f"{name}.{place}")


def _list(data: Mapping[str, object], name: str) -> list[object]:
    given = data.get(name)
    if not isinstance(given, list):
        raise bad_field(name, f"{shown(given)} is not a list" if name in data else "required, but not given")
    if not 1 <= len(given) <= MAX_BATCH:
        raise bad_field(name, f"{len(given)} {name}; a batch holds 1 to {MAX_BATCH}. Send more than one batch.")
    return given


def _item(shared: Mapping[str, object], given: object, place: str) -> BatchItem:
    if place.startswith("texts"):
        return BatchItem({**shared, "text": given}, place)
    if not isinstance(given, Mapping):
        raise bad_field(place, f"{shown(given)} is not an object with fields")
    if taken := [name for name in given if name in OF_ALL]:
        raise bad_field(f"{place}.{taken[0]}", "is one for the whole batch. Give it beside items")
    both: dict[str, object] = {}
    for name in _MERGED:
        beside, own = shared.get(name), given.get(name)
        if isinstance(beside, Mapping) and isinstance(own, Mapping):
            both[name] = {**beside, **own}
    nested = {f"{name}.{key}" for name in _MERGED if isinstance(said := given.get(name), Mapping) for key in said}
    return BatchItem({**shared, **given, **both}, place, {*given, *nested})

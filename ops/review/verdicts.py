"""Verdicts on pictures, kept in the store for good: what was said, by whom, when, and why.

Nothing is ever changed: each call of `record` writes one object of its own, and what holds follows from all of them,
so that two people at once lose nothing, and what was answered is there after any crash. A verdict is of a picture, by
the recipe of the finished file: one that comes back, with an edition or a release, comes back with what was said of it.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from uuid import uuid4

from foundation.map_ahead import map_ahead
from resources.object_store import ObjectNotFoundError, ObjectStore

VERDICTS = "verdicts/"
"""Objects below this prefix are nobody's garbage."""
MERGED_FROM = 200
"""So many objects of a catalog are merged into one by `merge_verdicts`."""
MAX_REASON = 500
_LOOKS = 5


class State(StrEnum):
    """What a picture is, to who reviews."""

    UNREVIEWED = "unreviewed"
    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that somebody said of one picture.

    Attributes:
        id: unique; the same verdict sent twice is one.
        recipe: the digest of the finished picture's recipe; row: the id of the catalog's row it was shown for.
        state, star: None says nothing of it.
        by: who; at_s: when, in s since 1970.
    """

    id: str
    recipe: str
    row: str
    by: str
    at_s: float
    state: State | None = None
    star: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of a picture: the last state that somebody gave it, with its reason, and the last word on its star."""

    state: State = State.UNREVIEWED
    star: bool = False
    reason: str = ""
    by: str = ""
    at_s: float = 0.0


NOTHING_SAID = Standing()


class CatalogVerdicts:
    """The verdicts of one catalog. Objects that were read once are not read again; safe to use from many threads."""

    def __init__(self, store: ObjectStore, catalog: str) -> None:
        self._store = store
        self._prefix = f"{VERDICTS}{catalog}/"
        self._read: dict[str, tuple[Verdict, ...]] = {}

    def record(self, verdicts: Sequence[Verdict]) -> None:
        """Keep these, which hold over earlier ones, whatever clock those were given by; then they are in the store."""
        if verdicts:
            keys = [found.key for found in self._store.list(self._prefix)]
            last_ms = int(_name(keys[-1]).partition("-")[0]) if keys else 0
            is_late = verdicts[0].at_s * 1000 < last_ms
            late_s = (last_ms + 1.5) / 1000 - verdicts[0].at_s if is_late else 0.0  # whatever is lost in rounding
            kept = tuple(replace(one, at_s=one.at_s + late_s) for one in verdicts)
            key = f"{self._prefix}{math.floor(kept[-1].at_s * 1000):013d}-{uuid4().hex}.jsonl"
            self._store.put(key, _encoded(kept), content_type="application/x-ndjson")
            self._read[key] = kept

    def all(self) -> list[Verdict]:
        """Every verdict, once, in order of time."""
        self._refresh()
        known = {verdict.id: verdict for read in list(self._read.values()) for verdict in read}
        return sorted(known.values(), key=lambda verdict: (verdict.at_s, verdict.id))

    def standings(self) -> Mapping[str, Standing]:
        """What holds of each picture, by recipe; `NOTHING_SAID` of all others."""
        return standings(self.all())

    def version(self) -> str:
        """What changes when a verdict comes: the number of objects, and the last one's name."""
        keys = [found.key for found in self._store.list(self._prefix)]
        return f"{len(keys)}:{_name(keys[-1])}" if keys else ""

    def _refresh(self) -> None:
        for _ in range(_LOOKS):
            new = [found.key for found in self._store.list(self._prefix) if found.key not in self._read]
            try:
                self._read |= dict(map_ahead(self._object, new))
            except ObjectNotFoundError:  # merged since it was listed: the other object holds it
                continue
            return
        self._read |= dict(map_ahead(self._object, new))

    def _object(self, key: str) -> tuple[Verdict, ...]:
        return tuple(_decoded(self._store.get(key)))


def standings(verdicts: Iterable[Verdict]) -> dict[str, Standing]:
    """What follows from verdicts in order of time, by recipe."""
    held: defaultdict[str, Standing] = defaultdict(lambda: NOTHING_SAID)
    for one in verdicts:
        before = held[one.recipe]
        star = before.star if one.star is None else one.star
        if one.state is None:
            held[one.recipe] = Standing(before.state, star, before.reason, before.by or one.by, before.at_s or one.at_s)
        else:
            held[one.recipe] = Standing(one.state, star, one.reason, one.by, one.at_s)
    return dict(held)


def rejections(verdicts: Iterable[Verdict]) -> dict[str, set[str]]:
    """The pictures that stand rejected, by the row that they were shown for."""
    given = list(verdicts)
    held, rejected = standings(given), defaultdict(set)
    for one in given:
        if held[one.recipe].state is State.REJECTED:
            rejected[one.row].add(one.recipe)
    return dict(rejected)


def merge_verdicts(store: ObjectStore, *, at_least: int = MERGED_FROM) -> int:
    """Merge the many objects of catalogs into one each, so that they are read quickly; returns how many went.

    The whole is written before the parts go, and a verdict read twice is one: at any moment everything is there.
    """
    parts: defaultdict[str, list[str]] = defaultdict(list)
    for found in store.list(VERDICTS):
        parts[found.key.rpartition("/")[0]].append(found.key)
    gone = 0
    for folder, keys in parts.items():
        if len(keys) >= at_least:
            whole = {one.id: one for _, data in map_ahead(store.get, keys) for one in _decoded(data)}
            newest = _name(keys[-1]).partition("-")[0]
            name = f"{folder}/{newest}-{uuid4().hex}.jsonl"
            store.put(name, _encoded(whole.values()), content_type="application/x-ndjson")
            for key in keys:
                store.delete(key)
            gone += len(keys)
    return gone


def new_verdict(recipe: str, row: str, by: str, *, id: str = "", state: State | None = None, **said: object) -> Verdict:
    """A verdict of this moment; `id` is made up if none is given."""
    return Verdict(id or uuid4().hex, recipe, row, by, time.time(), state, **said)  # type: ignore[arg-type]


def _name(key: str) -> str:
    """Of a verdicts' object: when the last of them was given, in ms, and something unique."""
    return key.rpartition("/")[2]


def _encoded(verdicts: Iterable[Verdict]) -> bytes:
    return "".join(f"{json.dumps(asdict(one), ensure_ascii=False)}\n" for one in verdicts).encode("utf-8", "replace")


def _decoded(data: bytes) -> Iterator[Verdict]:
    for line in data.splitlines():
        given = json.loads(line)
        yield Verdict(**{**given, "state": State(given["state"]) if given["state"] else None})

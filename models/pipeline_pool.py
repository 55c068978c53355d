"""The warm models of this process, shared by all engines in it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from models.errors import OutOfMemoryError

if TYPE_CHECKING:
    from models.families.base import ModelFamily


@dataclass(frozen=True)
class PoolKey:
    """What makes two loaded models the same one."""

    release: str
    accelerator: str
    device: str
    dtype: str


@dataclass
class _Entry:
    family: "ModelFamily | None" = None
    leases: int = 0
    size_bytes: int = 0
    in_use: threading.Lock = field(default_factory=threading.Lock)


class PipelinePool:
    """Loaded models, the least recently used dropped first. Safe for threads: a model serves one at a time."""

    def __init__(self) -> None:
        self._entries: OrderedDict[PoolKey, _Entry] = OrderedDict()
        self._known_bytes: dict[PoolKey, int] = {}
        self._lock = threading.Lock()

    @contextmanager
    def lease(
        self, key: PoolKey, load: Callable[[], "ModelFamily"], limit: int, budget_bytes: int | None = None
    ) -> Iterator["ModelFamily"]:
        """The model of `key`, for as long as the block runs.

        Args:
            load: loads it if it is not warm; what it raises passes through, and the next lease tries again. If it
                runs out of memory while others are idle, those are released, and it is called once more.
            limit: models to keep; idle ones beyond it are released before another is loaded.
            budget_bytes: for the weights of all; idle models beyond it are released too, before a model is loaded
                whose size is known from before, and after one that is new. A model larger than that is kept alone.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            entry.leases += 1
        try:
            with entry.in_use:
                if entry.family is None:
                    self._make_room(limit, budget_bytes, self._known_bytes.get(key, 0))
                    entry.family = self._load(load)
                    if budget_bytes is not None:
                        self._known_bytes[key] = entry.size_bytes = entry.family.size_bytes
                        self._make_room(limit, budget_bytes)
                yield entry.family
        finally:
            self._return(key, entry)

    def release(self, keys: Iterable[PoolKey]) -> None:
        """Release these models as soon as nobody uses them."""
        for key in keys:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                # As a lease, so that nobody else drops it meanwhile.
                entry.leases += 1
            try:
                with entry.in_use:
                    _drop(entry)
            finally:
                self._return(key, entry)

    def __contains__(self, key: PoolKey) -> bool:
        return key in self._entries

    def has_room(self, limit: int, budget_bytes: int | None) -> bool:
        """Another model can be loaded without one having to go."""
        with self._lock:
            return len(self._entries) < limit and self._is_within(budget_bytes, 1)

    def _make_room(self, limit: int, budget_bytes: int | None, needed_bytes: int = 0) -> None:
        surplus = []
        with self._lock:
            for key in self._idle():
                if len(self._entries) <= limit and self._is_within(budget_bytes, needed_bytes):
                    break
                surplus.append(self._entries.pop(key))
        _drop_all(surplus)

    def _load(self, load: Callable[[], "ModelFamily"]) -> "ModelFamily":
        try:
            return load()
        except OutOfMemoryError:
            with self._lock:
                idle = [self._entries.pop(key) for key in self._idle()]
            if not idle:
                raise
        _drop_all(idle)
        return load()

    def _return(self, key: PoolKey, entry: _Entry) -> None:
        with self._lock:
            entry.leases -= 1
            if entry.family is None and not entry.leases:
                del self._entries[key]

    def _idle(self) -> list[PoolKey]:
        return [key for key, entry in self._entries.items() if not entry.leases]

    def _is_within(self, budget_bytes: int | None, needed_bytes: int) -> bool:
        used = sum(entry.size_bytes for entry in self._entries.values())
        return budget_bytes is None or used + needed_bytes <= budget_bytes


def _drop_all(entries: Iterable[_Entry]) -> None:
    """Call it without the pool's lock: a release waits for pictures being decoded, whose listeners may ask the pool."""
    for entry in entries:
        _drop(entry)


def _drop(entry: _Entry) -> None:
    if entry.family:
        entry.family.release()
        entry.family, entry.size_bytes = None, 0


@cache
def process_pool() -> PipelinePool:
    """The one pool of this process."""
    return PipelinePool()

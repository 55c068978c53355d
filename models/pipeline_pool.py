"""The warm models of this process, shared by all engines in it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

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
            load: loads it if it is not warm; what it raises passes through, and the next lease tries again.
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
                    entry.family = load()
                    if budget_bytes is not None:
                        self._known_bytes[key] = entry.size_bytes = entry.family.size_bytes
                        self._make_room(limit, budget_bytes)
                yield entry.family
        finally:
            with self._lock:
                entry.leases -= 1
                if entry.family is None and not entry.leases:
                    self._entries.pop(key, None)

    def release(self, keys: Iterable[PoolKey]) -> None:
        """Release these models as soon as nobody uses them."""
        for key in keys:
            with self._lock:
                entry = self._entries.get(key)
            if entry is None:
                continue
            with entry.in_use:
                _drop(entry)
            with self._lock:
                if not entry.leases and self._entries.get(key) is entry and entry.family is None:
                    del self._entries[key]

    def __contains__(self, key: PoolKey) -> bool:
        return key in self._entries

    def has_room(self, limit: int, budget_bytes: int | None) -> bool:
        """Another model can be loaded without one having to go."""
        with self._lock:
            return len(self._entries) < limit and self._is_within(budget_bytes, 1)

    def _make_room(self, limit: int, budget_bytes: int | None, needed_bytes: int = 0) -> None:
        with self._lock:
            for key in [key for key, entry in self._entries.items() if not entry.leases]:
                if len(self._entries) <= limit and self._is_within(budget_bytes, needed_bytes):
                    return
                _drop(self._entries.pop(key))

    def _is_within(self, budget_bytes: int | None, needed_bytes: int) -> bool:
        used = sum(entry.size_bytes for entry in self._entries.values())
        return budget_bytes is None or used + needed_bytes <= budget_bytes


def _drop(entry: _Entry) -> None:
    if entry.family:
        entry.family.release()
        entry.family, entry.size_bytes = None, 0


@cache
def process_pool() -> PipelinePool:
    """The one pool of this process."""
    return PipelinePool()

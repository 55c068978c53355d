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
    in_use: threading.Lock = field(default_factory=threading.Lock)


class PipelinePool:
    """Loaded models, the least recently used dropped first. Safe for threads: a model serves one at a time."""

    def __init__(self) -> None:
        self._entries: OrderedDict[PoolKey, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, key: PoolKey, load: Callable[[], "ModelFamily"], limit: int) -> Iterator["ModelFamily"]:
        """The model of `key`, for as long as the block runs.

        Args:
            load: loads it if it is not warm; what it raises passes through, and the next lease tries again.
            limit: models to keep; idle ones beyond it are released before another is loaded.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            entry.leases += 1
        try:
            with entry.in_use:
                if entry.family is None:
                    self._make_room(limit)
                    entry.family = load()
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

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: PoolKey) -> bool:
        return key in self._entries

    def _make_room(self, limit: int) -> None:
        with self._lock:
            idle = [key for key, entry in self._entries.items() if not entry.leases]
            surplus = max(0, len(self._entries) - limit)
            for key in idle[:surplus]:
                _drop(self._entries.pop(key))


def _drop(entry: _Entry) -> None:
    if entry.family:
        entry.family.release()
        entry.family = None


@cache
def process_pool() -> PipelinePool:
    """The one pool of this process."""
    return PipelinePool()

"""How runs reuse stored pictures while `store gc` removes those that nobody refers to.

A run decides to reuse a picture long before its manifest names it, and the collector may look at any moment between. A
picture that a run reuses is safe for one of three reasons:

* The asset's last manifest names it. The collector keeps what manifests name, and a manifest that is replaced is kept
  beside the new one for as long as any run that may have read it.
* It is young: the collector removes nothing that was written after the oldest active run began, nor within
  `retention.orphan_hours` before that. What a run makes is young, too.
* It is neither, and `Reuse.find` writes it anew, with the same bytes, so that it is young.

The last takes care of the moment itself: the collector announces what it will remove before it looks at each object
for the last time, and `Reuse` looks for announcements after it has written. Each writes before it reads, so at least
one sees the other: the collector spares the picture, or the run waits for the collector and then knows what is left.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from uuid import uuid4

from foundation.map_ahead import map_ahead
from io_managers.image_set import ReadLast
from models.encoding import CONTENT_TYPES
from resources.object_store import ObjectNotFoundError, ObjectStore, StoredObject
from resources.stored_json import get_json, put_json

ANNOUNCEMENTS = "gc/removing/"
ANNOUNCED_FOR_S = 600
"""An announcement older than this is void: its collector died, or has stopped removing."""
_POLL_S = 0.2


class Reuse:
    """The stored pictures that a run of one asset and catalog may reuse. Safe to use from many threads.

    Args:
        last: reads the asset's last manifest.
        renew_after_s: age at which a picture that the last manifest does not name is written anew; half of
            `retention.orphan_hours`, so that a younger one stays young while the run goes on.
        made_after_s: what was stored before is made again; Unix time.
    """

    def __init__(self, store: ObjectStore, last: ReadLast, *, renew_after_s: float, made_after_s: float = 0.0) -> None:
        self.store, self.last, self.made_after_s = store, last, made_after_s
        self._renew_after_s = renew_after_s

    def find(self, key: str) -> StoredObject | None:
        """What is stored under `key`, safe from removal from now on; None if the picture must be made."""
        found = self.store.stat(key)
        if found is None or found.written_s <= self.made_after_s:
            return None
        if key in self._named or time.time() - found.written_s < self._renew_after_s:
            return found
        return self._renewed(key)

    @cached_property
    def _named(self) -> frozenset[str]:
        """The pictures of the last manifest."""
        last = self.last()
        return frozenset(last.manifest.column("key").to_pylist()) if last else frozenset()

    def _renewed(self, key: str) -> StoredObject | None:
        """An object that may be about to be removed, written anew; None if it was, meanwhile."""
        try:
            data = self.store.get(key)
        except ObjectNotFoundError:
            return None
        self.store.put(key, data, content_type=CONTENT_TYPES[key.rpartition(".")[2]])
        while key in announced_keys(self.store):
            time.sleep(_POLL_S)
        return self.store.stat(key)


@contextmanager
def announced(store: ObjectStore, keys: Iterable[str]) -> Iterator[Callable[[], bool]]:
    """Say that these objects are about to be removed; yields whether the announcement still holds."""
    place = f"{ANNOUNCEMENTS}{uuid4().hex}.json"
    began = time.monotonic()
    put_json(store, place, {"until_s": time.time() + ANNOUNCED_FOR_S, "keys": list(keys)})
    try:
        # Half of the time is left for the removal under way, and for clocks that differ.
        yield lambda: time.monotonic() - began < ANNOUNCED_FOR_S / 2
    finally:
        store.delete(place)


def announced_keys(store: ObjectStore) -> set[str]:
    """The keys of all announcements that hold."""
    keys: set[str] = set()
    for stored in store.list(ANNOUNCEMENTS):
        document = get_json(store, stored.key)
        if document and document["until_s"] > time.time():  # that collector has not finished
            keys.update(document["keys"])
    return keys


def keep_all(store: ObjectStore, contents: Mapping[str, Callable[[], bytes]], *, renew_after_s: float) -> None:
    """See to it that objects are stored, and safe from removal until something names them.

    Args:
        contents: reads the bytes of each object, by its key.
        renew_after_s: age at which one that is stored already is written anew.
    """

    def write(key: str) -> bool:
        found = store.stat(key)
        if found and time.time() - found.written_s < renew_after_s:
            return False
        store.put(key, contents[key](), content_type="application/octet-stream")
        return True

    while written := {key for key, wrote in map_ahead(write, contents) if wrote}:
        while written & announced_keys(store):
            time.sleep(_POLL_S)

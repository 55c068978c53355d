"""One collection of garbage at a time in a store, whoever begins it on whichever machine."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from uuid import uuid4

from foundation.errors import ImageGenXError
from foundation.problems import shown
from resources.audit import this_person
from resources.object_store import ObjectStore, StoreError
from resources.stored_json import get_json, put_json

LOCKS = "gc/collecting/"
RENEWED_EVERY_S = 30.0
VOID_AFTER_S = 150.0
"""A lock that was not renewed for so long is that of a process that was killed."""


class CollectionUnderWayError(ImageGenXError):
    """Somebody else collects this store's garbage now."""


@contextmanager
def only_collection(store: ObjectStore) -> Iterator[None]:
    """Hold the store's lock while the block runs; an object says so, which is renewed until the block ends.

    Each writes its own before it looks for others, so of two at once at least one sees the other; both may give way.
    The ages of locks are told by the store's clock alone.

    Raises:
        CollectionUnderWayError: if somebody else holds it.
    """
    place = f"{LOCKS}{uuid4().hex}.json"
    began = datetime.now(UTC).isoformat(timespec="seconds")
    document = {"who": this_person(), "since": began}
    put_json(store, place, document)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(store, place, document, ended), daemon=True)
    try:
        _refuse_second(store, place)
        renewing.start()
        yield
    finally:
        ended.set()
        if renewing.ident:
            renewing.join()
        store.delete(place)


def _refuse_second(store: ObjectStore, own: str) -> None:
    locks = {lock.key: lock.written_s for lock in store.list(LOCKS)}
    now_s = max(locks.values())
    for key in locks.keys() - {own}:
        if now_s - locks[key] > VOID_AFTER_S:
            store.delete(key)
        elif holder := get_json(store, key):  # it has not ended since
            raise CollectionUnderWayError(
                f"{shown(holder['who'])} collects the garbage of this store already, since {holder['since']}. Wait "
                f"until that has ended; if it was killed, try again in {VOID_AFTER_S:.0f} s."
            )


def _renew(store: ObjectStore, place: str, document: Mapping[str, str], ended: threading.Event) -> None:
    while not ended.wait(RENEWED_EVERY_S):
        with suppress(StoreError):  # the collection itself meets the same, and tells of it
            put_json(store, place, document)

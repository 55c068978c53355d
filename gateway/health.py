"""How the gateway, the queue, the store and the workers are."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from foundation.errors import ImageGenXError
from ops.catalog.refused import refused_files
from resources.object_store import ObjectStore, StoreAccessError
from resources.queue import QueueUnavailableError, RequestQueue

logger = logging.getLogger(__name__)

QUEUE_FRESH_S = 0.5
STORE_FRESH_S = 10.0
"""Each is looked at so often at most: looking writes to it."""
ANSWER_S = 1.0
"""A look that takes longer goes on behind the answer, s."""
STALE_S = 5.0
"""What is older than this says nothing of now, if a look that should make it new does not end."""

State = dict[str, object]


@dataclass(frozen=True)
class Health:
    """`status` is healthy, degraded (the store fails, requests are still taken) or unhealthy (the queue fails)."""

    status: str
    queue: State
    store: State
    workers: State
    version: str
    timestamp_s: float

    @property
    def code(self) -> int:
        """The HTTP status that tells a load balancer whether to send requests here."""
        return 503 if self.status == "unhealthy" else 200


class HealthCheck:
    """Looks at queue and store, by writing to each; answers within `ANSWER_S`, however long they are silent."""

    def __init__(self, queue: RequestQueue, store: ObjectStore) -> None:
        self._queue = _Watched(lambda: _queue_state(queue), QUEUE_FRESH_S)
        self._store = _Watched(lambda: _store_state(store), STORE_FRESH_S)
        self._version = version("imagegenx")

    def now(self) -> Health:
        """The health of this moment."""
        for watched in (self._queue, self._store):
            watched.begin_look()
        queue, store = self._queue.state(), self._store.state()
        workers: State = {name: queue.pop(name, None) for name in ("live", "building")}
        status = "unhealthy" if queue["status"] != "up" else "healthy" if store["status"] == "up" else "degraded"
        return Health(status, queue, store, workers, self._version, time.time())


class _Watched:
    """The state that a look found last. Looks are made in threads, so that one that hangs holds up nobody."""

    def __init__(self, look: Callable[[], State], fresh_s: float) -> None:
        self._look, self._fresh_s = look, fresh_s
        self._found: State = {}
        self._found_at_s = self._begun_at_s = float("-inf")
        self._is_looking = False
        self._changed = threading.Condition()

    def begin_look(self) -> None:
        """Look again, unless that is going on or was done just now."""
        now_s = time.monotonic()
        with self._changed:
            if self._is_looking or now_s - self._found_at_s <= self._fresh_s:
                return
            self._is_looking, self._begun_at_s = True, now_s
        threading.Thread(target=self._look_once, name="health", daemon=True).start()

    def state(self) -> State:
        """What the look that goes on finds, if it is quick, else what the last one found; `age_s` says when.

        What was down just now is not waited for: it may well hang.
        """
        with self._changed:
            if self._found.get("status") != "down" or time.monotonic() - self._found_at_s > STALE_S:
                left_s = self._begun_at_s + ANSWER_S - time.monotonic()
                self._changed.wait_for(lambda: not self._is_looking, max(0.0, left_s))
            now_s = time.monotonic()
            age_s, silent_s = now_s - self._found_at_s, now_s - self._begun_at_s
            if self._is_looking and age_s > STALE_S:
                return {"status": "down", "problem": "silent", "remedy": _SILENT, "age_s": round(silent_s, 1)}
            return {**self._found, "age_s": round(age_s, 1)}

    def _look_once(self) -> None:
        try:
            found = self._look()
        except Exception:  # a bug must not pass for what was found before it
            logger.exception("a look at the health has failed")
            found = {"status": "down", "problem": "unknown", "remedy": _UNKNOWN}
        with self._changed:
            self._found, self._found_at_s, self._is_looking = found, time.monotonic(), False
            self._changed.notify_all()


_SILENT = "It takes requests and does not answer. Look at its load, its log and the network."
_UNKNOWN = "The gateway's log says what has failed."
_STORE = "`imagegenx doctor` says what is wrong with the store, and what to do."
_STORE_REFUSES = "The store refuses us: check credentials, bucket and permissions with `imagegenx doctor`."


def _queue_state(queue: RequestQueue) -> State:
    try:
        queue.check()
        depth, workers = queue.depth(), queue.workers()
    except QueueUnavailableError as exc:
        return {"status": "down", "problem": exc.trouble.state, "remedy": exc.trouble.remedy}
    return {
        "status": "up",
        "waiting": sum(depth.waiting.values()),
        "processing": depth.processing,
        "oldest_waiting_s": round(depth.oldest_waiting_s, 3),
        "dead": depth.dead,
        "live": len(workers),
        "building": [line for worker in workers for line in worker.building],
    }


def _store_state(store: ObjectStore) -> State:
    try:
        store.check()
        refused = len(refused_files(store))
    except StoreAccessError:
        return {"status": "down", "problem": "refused", "remedy": _STORE_REFUSES}
    except ImageGenXError:
        return {"status": "down", "problem": "unusable", "remedy": _STORE}
    return {"status": "up", "refused_catalogs": refused}

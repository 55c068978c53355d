"""How the gateway, the queue, the store and the workers are."""

import threading
import time
from dataclasses import dataclass
from importlib.metadata import version

from configs.errors import ImageGenXError
from resources.object_store import ObjectStore
from resources.queue import RequestQueue

STORE_FRESH_S = 5.0
"""The store is looked at this often at most: looking writes to it."""


@dataclass(frozen=True)
class Health:
    """`status` is healthy, degraded (the store fails, requests are still taken) or unhealthy (the queue fails)."""

    status: str
    queue: dict[str, object]
    store: dict[str, object]
    workers: dict[str, object]
    version: str
    timestamp_s: float

    @property
    def code(self) -> int:
        """The HTTP status that tells a load balancer whether to send requests here."""
        return 503 if self.status == "unhealthy" else 200


class HealthCheck:
    """Looks at the queue every time and at the store every few seconds."""

    def __init__(self, queue: RequestQueue, store: ObjectStore) -> None:
        self._queue = queue
        self._store = store
        self._version = version("imagegenx")
        self._lock = threading.Lock()
        self._store_state: dict[str, object] = {"status": "unknown"}
        self._store_seen_s = float("-inf")

    def now(self) -> Health:
        """The health of this moment."""
        queue, workers = self._queue_state()
        store = self._store_now()
        status = "unhealthy" if queue["status"] != "up" else "healthy" if store["status"] == "up" else "degraded"
        return Health(status, queue, store, workers, self._version, time.time())

    def _store_now(self) -> dict[str, object]:
        """What was seen last, looked at anew if that is old and nobody else is looking: a store may be slow to fail."""
        if time.monotonic() - self._store_seen_s > STORE_FRESH_S and self._lock.acquire(blocking=False):
            try:
                self._store_state = self._look_at_store()
                self._store_seen_s = time.monotonic()
            finally:
                self._lock.release()
        return self._store_state

    def _queue_state(self) -> tuple[dict[str, object], dict[str, object]]:
        try:
            depth, workers = self._queue.depth(), self._queue.workers()
        except ImageGenXError:
            return {"status": "down"}, {"live": None}
        queue = {
            "status": "up",
            "waiting": sum(depth.waiting.values()),
            "processing": depth.processing,
            "oldest_waiting_s": round(depth.oldest_waiting_s, 3),
            "dead": depth.dead,
        }
        return queue, {"live": len(workers), "building": [line for worker in workers for line in worker.building]}

    def _look_at_store(self) -> dict[str, object]:
        try:
            self._store.check()
        except ImageGenXError:
            return {"status": "down"}
        return {"status": "up"}

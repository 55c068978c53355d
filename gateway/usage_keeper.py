"""The keeper of the ledger: moves what tasks have cost from the queue to the store, as long as the gateway runs."""

import logging
import threading
from datetime import UTC, datetime

from foundation.errors import ImageGenXError
from gateway.budgets import month
from resources.object_store import ObjectStore
from resources.queue import DAY_S, RequestQueue
from resources.usage_ledger import PIECE, UsageLedger

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0
KEPT_BACK_S = 300.0
"""Fewer entries than a piece are moved once the oldest is so old."""


class UsageKeeper:
    """One thread; any number of gateways may have one."""

    def __init__(self, store: ObjectStore, queue: RequestQueue) -> None:
        self._ledger, self._queue = UsageLedger(store, queue), queue
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is in the queue stays there for the next one."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._restore()
                self._ledger.collect(PIECE, KEPT_BACK_S)
            except ImageGenXError as exc:
                logger.warning("the ledger of usage waits: %s", exc)
            self._stopping.wait(LOOK_EVERY_S)

    def _restore(self) -> None:
        """A Redis that has lost everything learns what was used this month."""
        today = datetime.now(UTC).date()
        first = datetime.fromtimestamp(month().first * DAY_S, UTC).date()
        self._queue.restore_usage(self._ledger.entries(first, today))

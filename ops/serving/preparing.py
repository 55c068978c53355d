"""Threads for tasks whose input pictures must be fetched first, shared out among owners."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

THREADS = 16
"""They mostly wait for a network."""
THREADS_PER_OWNER = 2
CLAIMS_PER_OWNER = 4
"""Whoever has so many tasks in preparation here gets no more claimed until some are done."""


class Preparing:
    """Calls functions in threads, owners in turn and only a few at once for each: nobody waits for another's servers.

    Safe for threads.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="preparing")
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        self._running: Counter[str] = Counter()

    def submit(self, owner: str, call: Callable[[], None]) -> None:
        """Call it once a thread is free for the owner."""
        with self._lock:
            self._waiting.setdefault(owner, deque()).append(call)
            self._start()

    def crowded(self) -> list[str]:
        """The owners who have as much in preparation as one may."""
        with self._lock:
            most = Counter({owner: len(calls) for owner, calls in self._waiting.items()}) + self._running
        return [owner for owner, count in most.items() if count >= CLAIMS_PER_OWNER]

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._running.total() < THREADS:
            owner = next((one for one in self._waiting if self._running[one] < THREADS_PER_OWNER), None)
            if owner is None:
                return
            calls = self._waiting.pop(owner)
            call = calls.popleft()
            if calls:
                self._waiting[owner] = calls  # behind the others
            self._running[owner] += 1
            with suppress(RuntimeError):  # closed
                self._threads.submit(self._run, owner, call)

    def _run(self, owner: str, call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            with self._lock:
                self._running -= Counter({owner: 1})
                self._start()

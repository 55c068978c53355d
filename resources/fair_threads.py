"""Threads that owners share: nobody waits for all that another has asked for."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Settled(Protocol):
    """What is told how a call ends; see `concurrent.futures.Future`."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...
    def cancel(self) -> object: ...


_Call = tuple[Settled, Callable[[], Any]]


class FairThreads:
    """Calls functions in threads: owners in turn, and only so many at once for each. Safe for threads.

    Args:
        threads: calls at once, of all owners.
        per_owner: calls at once of one of them, also while nobody else has any: who comes finds a thread free.
    """

    def __init__(self, threads: int, per_owner: int, name: str) -> None:
        self._most, self._per_owner = threads, per_owner
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Call]] = {}
        self._running: Counter[str] = Counter()

    def submit(self, owner: str, function: Callable[[], T]) -> "Future[T]":
        """Call it once a thread is free for the owner; a future that is cancelled before is passed over.

        After `close` nothing is called, and the future is cancelled.
        """
        future: Future[T] = Future()
        self.settle(owner, function, future)
        return future

    def settle(self, owner: str, function: Callable[[], object], future: Settled) -> None:
        """`submit`, for a future of one's own."""
        with self._lock:
            self._waiting.setdefault(owner, deque()).append((future, function))
            if self._running.total() < self._most and (turn := self._next()):
                try:
                    self._pool.submit(self._work, *turn)
                except RuntimeError:  # closed
                    future.cancel()

    def held(self) -> Counter[str]:
        """How many calls each owner has, waiting and under way."""
        with self._lock:
            return Counter({owner: len(calls) for owner, calls in self._waiting.items()}) + self._running

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for future, _ in (call for calls in self._waiting.values() for call in calls):
                future.cancel()
            self._waiting.clear()

    def _next(self) -> tuple[str, _Call] | None:
        """The next call of the owner whose turn it is, who is counted as running; None if all have what they may."""
        owner = next((one for one in self._waiting if self._running[one] < self._per_owner), None)
        if owner is None:
            return None
        calls = self._waiting.pop(owner)
        call = calls.popleft()
        if calls:
            self._waiting[owner] = calls  # behind the others
        self._running[owner] += 1
        return owner, call

    def _work(self, owner: str, call: _Call) -> None:
        """Do this call, and then the next ones for as long as there are some."""
        turn: tuple[str, _Call] | None = (owner, call)
        while turn:
            owner, call = turn
            _do(*call)
            with self._lock:
                self._running[owner] -= 1
                if not self._running[owner]:
                    del self._running[owner]
                turn = self._next()


def _do(future: Settled, function: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)

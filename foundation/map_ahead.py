"""Work on many things at once, in order and with bounded memory: asking a slow store, encoding beside the engine."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 128
_THREADS = 16

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def map_ahead(
    function: Callable[[Item], Answer], items: Iterable[Item], *, threads: int = _THREADS, ahead: int = AHEAD
) -> Iterator[tuple[Item, Answer]]:
    """Each item with the function's answer, in order, as soon as it is there when a further item is taken.

    Items are taken in the caller's thread. Ending early waits for the calls that have begun, and drops the others.

    Args:
        ahead: items that are taken before the first of them is given, at most.
    """
    pending: deque[tuple[Item, Future[Answer]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        for item in items:
            pending.append((item, pool.submit(function, item)))
            while pending and (len(pending) >= ahead or pending[0][1].done()):
                first, answer = pending.popleft()
                yield first, answer.result()
        for first, answer in pending:
            yield first, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)

"""Work in the background with a bound: what encodes and stores pictures while the next batch computes."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

Result = TypeVar("Result")


class BackgroundPool(Generic[Result]):
    """Threads with a bounded queue: `submit` blocks when it is full, and errors come back at the next call.

    Leaving the context waits for the tasks that have begun and drops those that have not.

    Args:
        workers: number of threads.
        queue: tasks that may wait for a thread.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        self._limit = workers + queue
        self._pending: deque[Future[Result]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, task: Callable[[], Result]) -> list[Result]:
        """Queue a task and return the results of tasks that have finished, oldest first; raises the first error."""
        self._pending.append(self._executor.submit(task))
        self._raise_first_error()
        finished = []
        while self._pending and (self._pending[0].done() or len(self._pending) > self._limit):
            finished.append(self._pending.popleft().result())
        return finished

    def drain(self) -> Iterator[Result]:
        """Wait for all queued tasks and return their results."""
        while self._pending:
            self._raise_first_error()
            yield self._pending.popleft().result()

    def _raise_first_error(self) -> None:
        for future in self._pending:
            if future.done():
                future.result()

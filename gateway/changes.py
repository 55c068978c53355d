"""News of tasks, fanned out to everybody in this process who waits for one."""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable

from resources.queue import QueueError, RequestQueue

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 2.0
"""Whoever waits looks at the task itself this often at least: news may be lost while Redis is away."""
RECONNECT_S = 0.5


class TaskChanges:
    """One thread listens to the queue's changes and wakes the coroutines that follow a task."""

    def __init__(self, queue: RequestQueue) -> None:
        self._queue = queue
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.listeners: list[Callable[[str], None]] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen; coroutines of `loop` may follow tasks from now on."""
        self._loop = loop
        self._thread = threading.Thread(target=self._listen, name="task-changes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every `follow` at its next step; safe from a signal handler or any thread."""
        self._stop.set()
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def join(self) -> None:
        """Wait until the listening thread has ended."""
        self.close()
        if self._thread:
            self._thread.join()

    async def follow(self, *task_ids: str, look_again_s: float = LOOK_AGAIN_S) -> AsyncGenerator[None, None]:
        """Yield at once, then whenever one of the tasks may have changed, until the gateway shuts down."""
        event = asyncio.Event()
        for task_id in task_ids:
            self._waiting[task_id].add(event)
        try:
            while not self._stop.is_set():
                event.clear()
                yield
                try:
                    await asyncio.wait_for(event.wait(), look_again_s)
                except TimeoutError:
                    continue
        finally:
            for task_id in task_ids:
                self._waiting[task_id].discard(event)
                if not self._waiting[task_id]:
                    del self._waiting[task_id]

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._queue.listen(self._heard, self._stop)
            except QueueError as exc:
                logger.warning("no news of tasks: %s", exc)
                self._stop.wait(RECONNECT_S)

    def _heard(self, task_id: str | None) -> None:
        """`None`: some may have been missed, so everybody looks."""
        if self._loop is None:
            return
        if task_id is None:
            self._loop.call_soon_threadsafe(self._wake_all)
            return
        for listener in self.listeners:
            listener(task_id)
        if task_id in self._waiting:
            self._loop.call_soon_threadsafe(self._wake, task_id)

    def _wake(self, task_id: str) -> None:
        for event in self._waiting.get(task_id, ()):
            event.set()

    def _wake_all(self) -> None:
        for task_id in list(self._waiting):
            self._wake(task_id)

"""The heartbeat of a worker: its claims stay its own, its progress is told, cancellations reach it."""

import logging
import threading
import time
from collections.abc import Callable

from ops.serving.meters import Meters
from ops.serving.open_task import OpenTask
from ops.serving.open_tasks import OpenTasks
from resources.queue import QueueUnavailableError, RequestQueue

logger = logging.getLogger(__name__)

BEAT_S = 1.0
PROGRESS_S = 0.05
"""Progress is told no more often."""


class Heartbeat:
    """A thread that renews the claims of open tasks every second, or every third of a lease if that is shorter.

    Args:
        on_cancelled: called with a task that its owner cancelled; must not take long.
        on_lost: called with a task that another worker has by now; must not take long.
        on_watched: called with a task that somebody watches, each time its progress is told.
        on_failure: called with what ended the heartbeat, other than an absent queue: nothing can be kept any more.
    """

    def __init__(
        self,
        queue: RequestQueue,
        meters: Meters,
        tasks: OpenTasks,
        lease_s: float,
        *,
        on_cancelled: Callable[[OpenTask], None],
        on_lost: Callable[[OpenTask], None],
        on_watched: Callable[[OpenTask], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._queue, self._meters, self._tasks = queue, meters, tasks
        self._beat_s = min(BEAT_S, lease_s / 3)
        self._on_cancelled, self._on_lost, self._on_failure = on_cancelled, on_lost, on_failure
        self._on_watched = on_watched
        self._told: dict[str, int] = {}
        self._stirred, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stir(self) -> None:
        """There is progress to tell."""
        self._stirred.set()

    def stop(self) -> None:
        """Beat no more."""
        self._stopping.set()
        self._stirred.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._beat_until_stopped()
        except Exception as exc:
            self._on_failure(exc)

    def _beat_until_stopped(self) -> None:
        due_s = told_s = time.monotonic()
        while not self._stopping.is_set():
            self._stopping.wait(max(0.0, told_s + PROGRESS_S - time.monotonic()))
            told_s = time.monotonic()
            try:
                is_due = time.monotonic() >= due_s
                if is_due:
                    due_s = time.monotonic() + self._beat_s
                    self._beat()
                self._tell_progress(with_jobs=is_due)
            except QueueUnavailableError as exc:
                logger.warning("no heartbeat: %s", exc)
            self._stirred.wait(max(0.0, due_s - time.monotonic()))
            self._stirred.clear()

    def _beat(self) -> None:
        tasks = self._tasks.all()
        self._meters.sample(self._tasks.in_engine())
        renewal = self._queue.renew(self._meters.state(), [task.claim for task in tasks])
        for task in tasks:
            if task.id in renewal.cancelled:
                self._on_cancelled(task)
            elif task.id in renewal.lost:
                self._on_lost(task)

    def _tell_progress(self, *, with_jobs: bool) -> None:
        """Tell how far tasks are; nobody watches picture jobs as closely as requests."""
        tasks = {task.id: task for task in self._tasks.all()}
        percents = {id: task.percent() for id, task in tasks.items() if with_jobs or not task.job}
        if any(percent > self._told.get(id, 0) for id, percent in percents.items()):
            # Of all of them, so that those which wait behind others are cancelled before they begin.
            told = [(tasks[id].claim, percent, tasks[id].gpu_s) for id, percent in percents.items()]
            heard = self._queue.progress_all(told)
            for id in heard.cancelled:
                self._on_cancelled(tasks[id])
            for id in heard.watched - heard.cancelled:
                self._on_watched(tasks[id])
        self._told = {id: percents.get(id, self._told.get(id, 0)) for id in tasks}

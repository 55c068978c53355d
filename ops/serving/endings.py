"""How tasks end: once, told to the queue, counted, and what they leave removed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from foundation.error_text import cause_text
from foundation.errors import ImageGenXError
from foundation.logs import log_ids
from ops.finish import Failure, failed_outcome
from ops.serving.groups import ResultGroups
from ops.serving.meters import Meters
from ops.serving.open_task import OpenTask
from ops.serving.open_tasks import OpenTasks
from ops.serving.patience import HandOverError, Patience
from resources.object_store import ObjectStore
from resources.outbound import NotWantedError
from resources.queue import Claim, RequestQueue, TaskStatus

logger = logging.getLogger(__name__)


class Endings:
    """Ends tasks. Safe for threads.

    Args:
        leave_engine: takes a task that ends out of the engine.
    """

    def __init__(
        self,
        queue: RequestQueue,
        store: ObjectStore,
        tasks: OpenTasks,
        patience: Patience,
        meters: Meters,
        groups: ResultGroups,
        leave_engine: Callable[[OpenTask], None],
    ) -> None:
        self._queue, self._store, self._tasks, self._patience = queue, store, tasks, patience
        self._meters, self._groups, self._leave_engine = meters, groups, leave_engine

    @contextmanager
    def failing(self, task: OpenTask) -> Iterator[None]:
        """Work on a task; what goes wrong ends it. At a hand-over it stays open, to be given back."""
        with log_ids(task_id=task.id):
            try:
                yield
            except (HandOverError, NotWantedError):
                return
            except ImageGenXError as exc:
                self.end(task, TaskStatus.FAILED, Failure.of(exc))
            except Exception as exc:
                logger.exception("task %s failed", task.id)
                failure = Failure(f"the request failed: {type(exc).__name__}: {cause_text(exc)}")
                self.end(task, TaskStatus.FAILED, failure)

    def end(self, task: OpenTask, status: TaskStatus, failure: Failure | None = None) -> None:
        """End the task, once."""
        if task.close():
            self._leave_engine(task)
            self.tell(task, status, failure)

    def tell(self, task: OpenTask, status: TaskStatus, failure: Failure | None = None) -> None:
        """Tell the queue how a task ended, which is closed."""
        try:
            with _surviving_outages(task.id):
                if self._patience.until_it_works(lambda: self._told(task, status, failure)):
                    self._count(task, status, failure)
                if status is not TaskStatus.SUCCESS:
                    self.forget(task)
        finally:
            self._tasks.remove(task)

    def refuse(self, claim: Claim, failure: Failure) -> None:
        """End a task that cannot even be read."""
        with _surviving_outages(claim.id):
            self._patience.until_it_works(lambda: self._queue.fail(claim, failure.error, failure.cause))

    def forget(self, task: OpenTask) -> None:
        """Remove the pictures of a request that has ended without them; those of jobs may be others', too."""
        keys = [] if task.job else task.stored_keys()
        now = self._queue.task(task.id) if keys else None
        if now and now.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            for key in keys:
                self._store.delete(key)

    def _told(self, task: OpenTask, status: TaskStatus, failure: Failure | None) -> bool:
        """Whether it is this worker that the task has ended by."""
        queue, claim = self._queue, task.claim
        if status is TaskStatus.CANCELLED:
            return queue.cancelled(claim, task.gpu_s)
        if task.job:
            outcome = failed_outcome(task.job, failure) if failure else task.outcome()
            return queue.answer(claim, outcome, task.gpu_s)
        if failure:
            return queue.fail(claim, failure.error, failure.cause, task.gpu_s)
        return queue.succeed(claim, task.result(), task.gpu_s)

    def _count(self, task: OpenTask, status: TaskStatus, failure: Failure | None) -> None:
        seconds = task.seconds if status is TaskStatus.SUCCESS else {}
        error = failure.error if failure else ""
        self._meters.ended("jobs" if task.job else "tasks", status, seconds)
        self._meters.count("gpu_seconds", task.gpu_s)
        if not task.job:
            self._groups.add_task(task.task, status, seconds, error)
        if error:
            logger.warning("task %s failed: %s", task.id, error)


@contextmanager
def _surviving_outages(task_id: str) -> Iterator[None]:
    """A task whose end cannot be told is another worker's when its lease ends; nothing is lost."""
    with log_ids(task_id=task_id):
        try:
            yield
        except ImageGenXError as exc:
            logger.error("task %s: its end could not be told: %s", task_id, exc)

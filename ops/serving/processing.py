"""What is done with a claimed task, from its plan to its end."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from foundation.error_text import cause_text, error_text
from foundation.errors import FailureCause, ImageGenXError, told
from foundation.logs import log_ids
from models.engine import BatchingEngine
from models.image import FailedImage, GeneratedImage
from models.request import GenerationRequest
from ops.serving.engine_watch import EngineWatch
from ops.serving.finishing import FinishedPicture, Finisher
from ops.serving.groups import ResultGroups
from ops.serving.meters import Meters
from ops.serving.open_task import OpenTask
from ops.serving.open_tasks import OpenTasks
from ops.serving.patience import HandOverError, Patience
from ops.serving.planning import PlannedPicture, Planner
from ops.serving.preparing import Preparing
from resources.object_store import ObjectStore
from resources.outbound import NotWantedError
from resources.queue import Claim, QueueUnavailableError, RequestQueue, TaskStatus

if TYPE_CHECKING:
    from ops.serving.worker import Workplace

logger = logging.getLogger(__name__)

_DEVICE_LOST = "CUDA error"
"""Marks the failures after which CUDA computes no more in a process."""


class Processing:
    """Takes tasks through planning, engine and finishing, and ends each of them once.

    Args:
        on_device_lost: told why, from the engine's thread, when the device of this process is gone.
        on_step: called after each denoising step, from the engine's thread.
    """

    def __init__(
        self,
        place: "Workplace",
        tasks: OpenTasks,
        patience: Patience,
        meters: Meters,
        *,
        on_step: Callable[[], None],
        on_device_lost: Callable[[str], None],
    ) -> None:
        self.groups = ResultGroups()
        self.engine_watch = EngineWatch()
        self._engine: BatchingEngine = place.engine
        self._queue: RequestQueue = place.queue
        self._store: ObjectStore = place.store
        self._tasks, self._patience, self._meters = tasks, patience, meters
        self._planner = Planner(place.settings, place.registry, place.engine, place.store)
        self._finisher = Finisher(place.settings, place.store, patience)
        self._on_step, self._on_device_lost = on_step, on_device_lost
        self.preparing = Preparing()
        self._finishing = ThreadPoolExecutor(place.settings.serving.finishing_workers, thread_name_prefix="finishing")

    def begin(self, claims: Sequence[Claim]) -> None:
        """Plan the claimed tasks and hand their pictures to the engine; where that needs a network, in threads."""
        if not claims:
            return
        tasks = [task for claim in claims if (task := self._open(claim))]
        self._engine.announce(True)
        try:
            for task in tasks:
                if task.is_quick:
                    self._prepare(task)
                else:
                    task.is_preparing = True
                    self.preparing.submit(task.task.owner, partial(self._prepare, task))
        finally:
            self._engine.announce(False)

    def cancel(self, task: OpenTask) -> None:
        """End a task whose owner wants it no more; that it has ended is told in a finishing thread."""
        if task.close():
            self._leave_engine(task)
            self._later(self._tell_end, task, TaskStatus.CANCELLED)

    def drop(self, task: OpenTask) -> None:
        """Do no more for a task: it is another worker's, or it is given back."""
        if task.close():
            self._leave_engine(task)
            self._tasks.remove(task)

    def give_back(self, tasks: Iterable[OpenTask]) -> None:
        """Let the next worker have tasks at once."""
        mine = [task for task in tasks if task.close()]
        for task in mine:
            self._leave_engine(task)
        try:
            self._queue.give_back([task.claim for task in mine])
        except QueueUnavailableError as exc:
            logger.warning("%d claims end with their lease: %s", len(mine), exc)
        for task in mine:
            self._tasks.remove(task)

    def close(self) -> None:
        """Begin nothing more in the threads."""
        self.preparing.close()
        self._finishing.shutdown(wait=False, cancel_futures=True)

    def _open(self, claim: Claim) -> OpenTask | None:
        try:
            task = OpenTask(claim, GenerationRequest.model_validate(claim.task.request))
        except ValueError as exc:
            error = f"the request was accepted by another version and is not valid here: {told(exc)}"
            with self._surviving_outages(claim.id):
                self._patience.until_it_works(lambda: self._queue.fail(claim, error, FailureCause.REQUEST))
            return None
        if former := self._tasks.get(task.id):
            self.drop(former)  # we lost it, and got it again
        self._tasks.add(task)
        return task

    def _prepare(self, task: OpenTask) -> None:
        with self._failing(task):
            if task.is_preparing and not self._is_wanted(task):
                return  # the heartbeat will end it
            planned = self._patience.until_it_works(lambda: self._planner.plan(task))
            task.is_preparing = False
            for picture in planned:
                if task.is_closed:
                    return
                if found := self._stored_before(task, picture):
                    task.generated()
                    self._stored(task, picture, found)
                else:
                    self._submit(task, picture)

    def _is_wanted(self, task: OpenTask) -> bool:
        """Whether its owner has not cancelled it, looked up before anything is fetched for it."""
        return not task.is_closed and self._patience.until_it_works(lambda: self._queue.is_wanted(task.claim))

    def _stored_before(self, task: OpenTask, picture: PlannedPicture) -> FinishedPicture | None:
        if task.claim.attempt <= 1:
            return None
        return self._finisher.stored(task.task, task.request.params.post_process, picture)

    def _submit(self, task: OpenTask, picture: PlannedPicture) -> None:
        ticket = self._engine.submit(picture.job, _Listener(self, task, picture), task.request.priority)
        self.engine_watch.submitted()
        if ticket:
            task.tickets.append(ticket)
            if task.is_closed:
                self._engine.cancel(ticket)

    def _leave_engine(self, task: OpenTask) -> None:
        for ticket in list(task.tickets):
            self._engine.cancel(ticket)

    def stepped(self, task: OpenTask, n: int, done: int, total: int) -> None:
        """The engine has done a step of picture `n`; called from its thread."""
        self.engine_watch.stepped()
        task.stepped(n, done, total)
        self._on_step()

    def generated(self, task: OpenTask, picture: PlannedPicture, result: GeneratedImage | FailedImage) -> None:
        """The engine has done with a picture; called from its thread."""
        self.engine_watch.ended()
        if task.is_closed:
            return
        if isinstance(result, FailedImage) and _DEVICE_LOST in result.error:
            self._on_device_lost(result.error)
        elif isinstance(result, FailedImage):
            self._later(self._end, task, TaskStatus.FAILED, result.error, result.cause)
        else:
            task.generated()
            self._later(self._finish, task, picture, result)
            self._tasks.notify()

    def _later(self, function: Callable[..., None], *arguments: object) -> None:
        """Call it in a finishing thread; after the hand-over the task is another worker's, and nothing is done."""
        with suppress(RuntimeError):
            self._finishing.submit(function, *arguments)

    def _finish(self, task: OpenTask, picture: PlannedPicture, generated: GeneratedImage) -> None:
        if task.is_closed:
            return
        with self._failing(task):
            post, with_tile = task.request.params.post_process, self.groups.wants_tile(task.task)
            finished = self._finisher.finish(task.task, post, picture, generated, with_tile=with_tile)
            self._stored(task, picture, finished)

    def _stored(self, task: OpenTask, picture: PlannedPicture, finished: FinishedPicture) -> None:
        is_last = task.finished(picture.n, finished.picture, finished.seconds)
        if task.is_closed:
            self._forget(task)
            return
        self._meters.count("pictures")
        self.groups.add_picture(task.task, finished.picture, finished.tile)
        if is_last:
            self._end(task, TaskStatus.SUCCESS)

    def _end(
        self, task: OpenTask, status: TaskStatus, error: str = "", cause: FailureCause = FailureCause.OTHER
    ) -> None:
        """End the task, once."""
        if task.close():
            self._leave_engine(task)
            self._tell_end(task, status, error, cause)

    def _tell_end(
        self, task: OpenTask, status: TaskStatus, error: str = "", cause: FailureCause = FailureCause.OTHER
    ) -> None:
        """Tell the queue how a task ended, which is closed."""
        result = task.result() if status is TaskStatus.SUCCESS else None

        def tell() -> bool:
            if result:
                return self._queue.succeed(task.claim, result)
            if status is TaskStatus.FAILED:
                return self._queue.fail(task.claim, error, cause)
            return self._queue.cancelled(task.claim)

        try:
            with self._surviving_outages(task.id):
                if self._patience.until_it_works(tell):
                    seconds = result.seconds if result else {}
                    self._meters.ended(status, seconds)
                    self.groups.add_task(task.task, status, seconds, error)
                    if error:
                        logger.warning("task %s failed: %s", task.id, error)
                if status is not TaskStatus.SUCCESS:
                    self._forget(task)
        finally:
            self._tasks.remove(task)

    def _forget(self, task: OpenTask) -> None:
        """Remove the pictures of a task that has ended without them."""
        keys = task.stored_keys()
        now = self._queue.task(task.id) if keys else None
        if now and now.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            for key in keys:
                self._store.delete(key)

    @contextmanager
    def _failing(self, task: OpenTask) -> Iterator[None]:
        """Work on a task; what goes wrong ends it. At a hand-over it stays open, to be given back."""
        with log_ids(task_id=task.id):
            try:
                yield
            except (HandOverError, NotWantedError):
                return
            except ImageGenXError as exc:
                self._end(task, TaskStatus.FAILED, error_text(str(exc)), exc.cause)
            except Exception as exc:
                logger.exception("task %s failed", task.id)
                self._end(task, TaskStatus.FAILED, f"the request failed: {type(exc).__name__}: {cause_text(exc)}")

    @contextmanager
    def _surviving_outages(self, task_id: str) -> Iterator[None]:
        """A task whose end cannot be told is another worker's when its lease ends; nothing is lost."""
        with log_ids(task_id=task_id):
            try:
                yield
            except ImageGenXError as exc:
                logger.error("task %s: its end could not be told: %s", task_id, exc)


class _Listener:
    """Hears of one picture, from the engine's thread."""

    def __init__(self, processing: Processing, task: OpenTask, picture: PlannedPicture) -> None:
        self._processing, self._task, self._picture = processing, task, picture

    def stepped(self, job_id: str, done: int, total: int) -> None:
        """See `Listener`."""
        self._processing.stepped(self._task, self._picture.n, done, total)

    def ended(self, result: GeneratedImage | FailedImage) -> None:
        """See `Listener`."""
        self._processing.generated(self._task, self._picture, result)

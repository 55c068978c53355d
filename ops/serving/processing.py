"""What is done with a claimed task, from its plan to its end."""

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from foundation.errors import FailureCause, told
from io_managers.image_set import MAX_STORED_PIXELS
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage, open_stored_picture
from models.picture_job import PictureJob
from models.request import GenerationRequest, Priority
from ops.finish import Failure, FinishedPicture, Finisher, PicturePlan
from ops.marking import Marker
from ops.moderation import PictureRejectedError, open_moderation
from ops.serving.dependencies import WorkerDependencies
from ops.serving.endings import Endings
from ops.serving.engine_watch import EngineWatch
from ops.serving.groups import ResultGroups
from ops.serving.meters import Meters
from ops.serving.open_task import OpenTask
from ops.serving.open_tasks import OpenTasks
from ops.serving.patience import Patience
from ops.serving.planning import PlannedPicture, Planner
from ops.serving.preparing import Preparing
from ops.serving.previewing import Previewing
from resources.audit import AuditEvent, open_audit
from resources.queue import Claim, QueueUnavailableError, RequestQueue, TaskStatus

if TYPE_CHECKING:
    from PIL.Image import Image


logger = logging.getLogger(__name__)

LOOKING_THREADS = 4
"""For picture jobs: they ask the store whether it has the picture."""

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
        place: WorkerDependencies,
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
        self._tasks, self._patience, self._meters = tasks, patience, meters
        self._endings = Endings(place.queue, place.store, tasks, patience, meters, self.groups, self._leave_engine)
        self._planner = Planner(place.settings, place.registry, place.engine, place.store)
        settings, threads = place.settings, place.settings.serving.finishing_workers
        moderation = open_moderation(settings.checks, place.store)
        self._audit = open_audit(settings)
        marker = Marker(settings)
        self._finisher = Finisher(
            place.store, moderation, calls=patience.until_it_works, marker=marker, threads=threads
        )

        # Nobody is to see in a preview what a moderator rejects.
        every_s = 0 if moderation else settings.serving.preview_every_s
        self.previewing = Previewing(place.queue, every_s, marker)
        self._on_step, self._on_device_lost = on_step, on_device_lost
        self.preparing = Preparing()
        # Nothing of the bulk lane stands before a request of the other one.
        self._finishing = {lane: ThreadPoolExecutor(threads, f"finishing-{lane}") for lane in Priority}
        self._looking = ThreadPoolExecutor(LOOKING_THREADS, "looking")
        self._changing = ThreadPoolExecutor(1, "changing")

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
                elif task.job:
                    _in(self._looking, self._prepare, task)
                else:
                    task.is_preparing = True
                    self.preparing.submit(task.task.owner, partial(self._prepare, task))
        finally:
            self._engine.announce(False)

    def cancel(self, task: OpenTask) -> None:
        """End a task whose owner wants it no more; that it has ended is told in a finishing thread."""
        if task.close():
            self._leave_engine(task)
            self._later(task, self._endings.tell, TaskStatus.CANCELLED)

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
        self.previewing.close()
        for threads in (*self._finishing.values(), self._looking, self._changing):
            threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, claim: Claim) -> OpenTask | None:
        kind = PictureJob if claim.is_job else GenerationRequest
        try:
            task = OpenTask(claim, kind.model_validate(claim.task.request))
        except ValueError as exc:
            error = f"the request was accepted by another version and is not valid here: {told(exc)}"
            self._endings.refuse(claim, Failure(error, FailureCause.REQUEST))
            return None
        if former := self._tasks.get(task.id):
            self.drop(former)  # we lost it, and got it again
        self._tasks.add(task)
        return task

    def _prepare(self, task: OpenTask) -> None:
        with self._endings.failing(task):
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
                elif picture.source:
                    _in(self._changing, self._change, task, picture, picture.source)
                else:
                    self._submit(task, picture, self._patience.until_it_works(picture.generation))

    def _is_wanted(self, task: OpenTask) -> bool:
        """Whether its owner has not cancelled it, looked up before anything is fetched for it."""
        return not task.is_closed and self._patience.until_it_works(lambda: self._queue.is_wanted(task.claim))

    def _stored_before(self, task: OpenTask, picture: PlannedPicture) -> FinishedPicture | None:
        """What the store has already: of any job, and of a request that a worker died of."""
        if not task.job:
            return self._finisher.find(picture.plan) if task.claim.attempt > 1 else None
        return self._finisher.find(picture.plan, made_after_s=task.job.made_after_s)

    def _change(self, task: OpenTask, picture: PlannedPicture, source: "Callable[[], Image]") -> None:
        """Finish a stored picture that only its last step is to be done to."""
        if task.is_closed:
            return
        with self._endings.failing(task):
            task.stepped(picture.n, 0, 1)
            finished = self._finisher.finish(picture.plan, self._patience.until_it_works(source))
            task.generated()
            self._stored(task, picture, finished)

    def _submit(self, task: OpenTask, picture: PlannedPicture, job: GenerationJob) -> None:
        ticket = self._engine.submit(job, _Listener(self, task, picture), task.priority)
        self.engine_watch.submitted()
        if ticket:
            self.previewing.follow(task, picture, ticket)
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
            self._later(task, self._endings.end, TaskStatus.FAILED, Failure(result.error, result.cause))
        else:
            task.generated()
            self._later(task, self._finish, picture, result)
            self._tasks.notify()

    def _later(self, task: OpenTask, function: Callable[..., None], *arguments: object) -> None:
        """Call it in a finishing thread; after the hand-over the task is another worker's, and nothing is done."""
        _in(self._finishing[task.priority], function, task, *arguments)

    def _finish(self, task: OpenTask, picture: PlannedPicture, generated: GeneratedImage) -> None:
        if task.is_closed:
            return
        with self._endings.failing(task):
            plan = replace(picture.plan, with_tile=not task.job and self.groups.wants_tile(task.task))
            try:
                finished = self._finisher.finish(plan, generated.pixels, generated.seconds)
            except PictureRejectedError:
                self._record_rejection(task, plan)
                raise
            if not task.job and self._finisher.marker and self._finisher.marker.reads_back():
                self._read_back(task, finished)
            self._stored(task, picture, finished)

    def _read_back(self, task: OpenTask, finished: FinishedPicture) -> None:
        """See whether the marks are in the file that was stored; how often is in the metrics."""
        assert self._finisher.marker
        data = self._patience.until_it_works(lambda: self._finisher.store.get(finished.plan.key))
        image = open_stored_picture(data, MAX_STORED_PIXELS)
        self._meters.count("marks_read_back")
        if missing := self._finisher.marker.missing(data, finished.plan.recipe, image):
            self._meters.count("marks_missing")
            logger.error("picture %s of task %s is not marked: %s", finished.plan.key, task.id, missing)

    def _record_rejection(self, task: OpenTask, plan: PicturePlan) -> None:
        if self._finisher.moderation and not task.job:  # a catalog's are in its manifest
            stamp, owner = self._finisher.moderation.stamp, task.task.owner
            self._audit.record(AuditEvent.PICTURE_REJECTED, stamp, task=task.id, user=owner, key=plan.key)

    def _stored(self, task: OpenTask, picture: PlannedPicture, finished: FinishedPicture) -> None:
        is_last = task.finished(picture.n, finished)
        if task.is_closed:
            self._endings.forget(task)
            return
        if not finished.reused:
            self._meters.count("pictures")
        if not task.job:
            self.groups.add_picture(task.task, finished)
        if is_last:
            self._endings.end(task, TaskStatus.SUCCESS)


def _in(threads: ThreadPoolExecutor, function: Callable[..., None], *arguments: object) -> None:
    """Call it in one of these threads, unless they are shut down: then what is open is given back."""
    with suppress(RuntimeError):
        threads.submit(function, *arguments)


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

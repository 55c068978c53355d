"""The serving worker: claims tasks, keeps the engine's batches full, and hands over when it ends."""

import logging
import os
import secrets
import socket
import threading
import time
from enum import StrEnum

from foundation.errors import ImageGenXError
from models.placement import Placement
from ops.serving.claims import Claims
from ops.serving.dependencies import WorkerDependencies
from ops.serving.groups import ResultGroup
from ops.serving.heartbeat import Heartbeat
from ops.serving.meters import Meters
from ops.serving.open_task import OpenTask
from ops.serving.open_tasks import OpenTasks
from ops.serving.patience import Patience
from ops.serving.processing import Processing
from resources.queue import QueueUnavailableError

logger = logging.getLogger(__name__)


class End(StrEnum):
    """Why a worker ended."""

    IDLE = "idle"
    LIFETIME = "lifetime"
    STOPPED = "stopped"


class EngineStalledError(ImageGenXError):
    """The engine hangs; its process must end, and its tasks are taken over by the next one."""


class DeviceLostError(ImageGenXError):
    """The device computes no more in this process; its tasks are taken over by the next one."""


class ServingWorker:
    """One worker of the request queue, in threads of its own.

    A task is acknowledged only after its pictures are stored, under keys that are always the same: a task done twice
    changes nothing.
    """

    def __init__(self, place: WorkerDependencies) -> None:
        settings = place.settings
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._serving = settings.serving
        self._registry, self._warm_up, self._queue = place.registry, place.warm_up, place.queue
        self._engine = place.engine
        self._tasks = OpenTasks()
        self._stopping = threading.Event()
        self._finish_s = settings.serving.handover_s
        self._end: End = End.STOPPED
        self._failure: BaseException | None = None
        meters = Meters(self.id, place.run_id, settings.engine.max_batch_size, self._engine.models)
        self._processing = Processing(
            place,
            self._tasks,
            Patience(settings.serving.outage_patience_s, self._stopping),
            meters,
            on_step=lambda: self._heartbeat.stir(),
            on_device_lost=self._lose_device,
        )
        self._claims = Claims(
            place.queue,
            self.id,
            self._tasks,
            settings.engine.max_batch_size + settings.serving.claim_ahead,
            self._stopping,
            self._processing.preparing.held,
        )
        self._heartbeat = Heartbeat(
            place.queue,
            meters,
            self._tasks,
            settings.queue.lease_s,
            on_cancelled=self._processing.cancel,
            on_lost=self._processing.drop,
            on_watched=self._processing.previewing.watched,
            on_failure=self._fail,
        )
        # Not the thread itself is waited for: Python 3.11 takes a join that a signal interrupts for the thread's end.
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving")

    def start(self) -> None:
        """Begin to claim."""
        self._heartbeat.start()
        self._thread.start()

    def stop(self, finish_s: float | None = None) -> None:
        """Claim no more; tasks that have begun may finish for so long (default: `handover_s`), the others go back."""
        if finish_s is not None:
            self._finish_s = finish_s
        self._stopping.set()
        self._tasks.notify()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended, at most so long (None: however long that takes); True if it has."""
        return self._ended.wait(timeout_s)

    def end(self) -> End:
        """Wait until it has ended, and say why. Raises what made it fail."""
        self._ended.wait()
        if self._failure:
            raise self._failure
        return self._end

    def take_results(self) -> list[ResultGroup]:
        """What has become of tasks since the last call, by day."""
        return self._processing.groups.take()

    def _run(self) -> None:
        try:
            self._warm_up(self._registry)
            self._announce()
            self._claims.start()
            self._end = self._claim_until_the_end()
        except BaseException as exc:
            self._failure = exc
        finally:
            self._stopping.set()
            try:
                self._hand_over()
            finally:
                self._ended.set()

    def _claim_until_the_end(self) -> End:
        began_s = idle_since_s = time.monotonic()
        while not self._stopping.is_set():
            now_s = time.monotonic()
            self._check_engine()
            if len(self._tasks):
                idle_since_s = now_s
            elif now_s - idle_since_s >= self._serving.idle_exit_s:
                return End.IDLE
            if now_s - began_s >= self._serving.max_lifetime_s:
                return End.LIFETIME
            self._processing.begin(self._claims.next())
        return End.STOPPED

    def _check_engine(self) -> None:
        limit_s = self._serving.step_timeout_s
        if self._processing.engine_watch.silent_s() > limit_s:
            raise EngineStalledError(
                f"the engine has been at one step for more than serving.step_timeout_s = {limit_s:g} s. Its tasks are"
                " tried again one by one; where loading or building a model takes longer, raise the setting."
            )

    def _announce(self) -> None:
        """Say how models run here, so that catalogs know which pictures they get."""
        placements: dict[str, Placement] = {}
        unusable: dict[str, str] = {}
        for name in self._registry.names:
            try:
                placements[name] = self._engine.placement(name)
            except ImageGenXError as exc:
                unusable[name] = str(exc)
        try:
            self._queue.announce(placements, unusable)
        except QueueUnavailableError as exc:
            logger.warning("catalogs do not learn how models run here: %s", exc)

    def _lose_device(self, error: str) -> None:
        self._fail(DeviceLostError(f"the device computes no more in this process: {error}"))

    def _fail(self, failure: Exception) -> None:
        """Let the worker end with this error."""
        self._failure = failure
        self.stop(0.0)

    def _hand_over(self) -> None:
        """Give back what has not begun, wait a while for what has, and give back the rest.

        After a failure, what the engine has is left to be taken over, which counts as a delivery: it may be the cause.
        """
        self._processing.give_back([task for task in self._tasks.all() if not self._stays(task)])
        if not self._failure:
            self._tasks.wait_until(lambda: not len(self._tasks), self._finish_s)
            self._processing.give_back(self._tasks.all())
        self._processing.close()
        self._heartbeat.stop()
        self._claims.stop()
        try:
            self._queue.worker_ended(self.id)
        except QueueUnavailableError as exc:
            logger.warning("the queue learns of this worker's end when its lease ends: %s", exc)

    def _stays(self, task: OpenTask) -> bool:
        return task.has_begun or bool(self._failure and task.tickets)

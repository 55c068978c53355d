"""Which claims a worker takes next, and when it asks for them."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from models.request import Priority
from ops.serving.open_tasks import OpenTasks
from ops.serving.preparing import CLAIMS_PER_OWNER
from resources.queue import Bells, Claim, QueueUnavailableError, RequestQueue

logger = logging.getLogger(__name__)

LOOK_UP_S = 0.5
"""The worker asks for claims so often at least: others' leases may have ended."""
UNSTORED_SHARE = 2
"""Tasks whose pictures are still being stored, at most, in multiples of those in the engine."""


class Room(NamedTuple):
    """How many more tasks a worker takes, and how many of them may be bulk requests and picture jobs."""

    tasks: int
    bulk: int


class Claims:
    """Claims as soon as there are some and room for them.

    Bulk work never takes an interactive request's place: those have room while there are fewer of them than the worker
    takes, whatever else it has. A thread of its own hears when something comes.

    Args:
        most: tasks in the engine or on their way to it.
        preparing: how many tasks of each owner have their input pictures fetched now.
    """

    def __init__(
        self,
        queue: RequestQueue,
        worker_id: str,
        tasks: OpenTasks,
        most: int,
        stopping: threading.Event,
        preparing: Callable[[], Mapping[str, int]],
    ) -> None:
        self._queue, self._worker_id, self._tasks, self._most = queue, worker_id, tasks, most
        self._most_open = (1 + UNSTORED_SHARE) * most
        self._stopping, self._preparing = stopping, preparing
        self._was_rung = True
        self._left = Room(0, 0)
        self._thread = threading.Thread(target=self._hear, name="bells", daemon=True)

    def start(self) -> None:
        """Begin to hear."""
        self._thread.start()

    def stop(self) -> None:
        """Hear nothing more, once the worker is to stop."""
        if self._thread.is_alive():
            self._thread.join()

    def next(self) -> list[Claim]:
        """New claims; none if that takes too long, or the worker is to stop."""
        self._tasks.wait_until(lambda: self._may_get() or self._stopping.is_set(), LOOK_UP_S)
        room = self._room()
        if room.tasks <= 0 or self._stopping.is_set():
            return []
        self._was_rung = False
        try:
            claims = self._queue.claim(
                self._worker_id,
                room.tasks,
                bulk=room.bulk,
                preparing=self._preparing(),
                preparing_each=CLAIMS_PER_OWNER,
            )
        except QueueUnavailableError as exc:
            logger.warning("waiting for the queue: %s", exc)
            self._stopping.wait(LOOK_UP_S)
            return []
        self._left = Room(room.tasks - len(claims), room.bulk - sum(map(_is_bulk, claims)))
        return claims

    def _may_get(self) -> bool:
        """Whether something has come since the last call, or there is room that it did not have."""
        room = self._room()
        return room.tasks > 0 and (self._was_rung or room.tasks > self._left.tasks or room.bulk > self._left.bulk)

    def _room(self) -> Room:
        in_engine, interactive = self._tasks.in_engine(), self._tasks.in_engine(Priority.INTERACTIVE)
        room = min(self._most - interactive, self._most_open - self._tasks.count(Priority.INTERACTIVE))
        return Room(room, max(0, min(room, self._most - in_engine, self._most_open - len(self._tasks))))

    def _hear(self) -> None:
        bells = Bells()
        while not self._stopping.is_set():
            before = bells
            try:
                bells = self._queue.hear(bells, LOOK_UP_S, with_bulk=self._room().bulk > 0)
            except QueueUnavailableError:
                self._stopping.wait(LOOK_UP_S)  # `next` says so
            if bells != before:
                self._was_rung = True
                self._tasks.notify()


def _is_bulk(claim: Claim) -> bool:
    return claim.is_job or claim.task.request.get("priority") == Priority.BULK

"""Where a request is in the queue, and when it should be done."""

import time
from dataclasses import dataclass
from typing import Any

from models.request import Priority
from resources.queue.link import RedisLink
from resources.queue.task import Task, TaskStatus


@dataclass(frozen=True)
class QueuePlace:
    """How many requests, itself included, are to be begun until this one is; 0 while a worker has it.

    `eta_s` are the seconds until it should have ended, as far as that can be told.
    """

    position: int
    eta_s: float | None


class Places:
    """A part of the request queue."""

    _link: RedisLink

    def place(self, task: Task) -> QueuePlace | None:
        """Where a request is in the queue, and when it should be done; None once it has ended.

        The place is by arrival; owners take turns, so that it may be had sooner or later. How long that takes is
        told by how many requests ended in the last minutes; while a worker has it, by its own steps.
        """
        if task.status is TaskStatus.WAITING:
            return self._waiting_place(task)
        if task.status is TaskStatus.PROCESSING:
            begun_s = max(0.0, time.time() - (task.started_at_s or task.created_at_s))
            return QueuePlace(0, begun_s * (100 - task.progress) / task.progress if task.progress else None)
        return None

    def _waiting_place(self, task: Task) -> QueuePlace | None:
        prefix, minute = self._link.prefix, int(time.time() // 60)
        lane = str(task.request.get("priority", Priority.INTERACTIVE.value))

        def ask(client: Any) -> list[Any]:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.zrank(f"{prefix}waiting:{lane}", task.id)
                pipeline.zcard(f"{prefix}waiting:{Priority.INTERACTIVE.value}")
                pipeline.mget([f"{prefix}ended:{minute}", f"{prefix}ended:{minute - 1}"])
                return list(pipeline.execute())

        rank, interactive, ended = self._link.call(ask)
        if rank is None:  # a worker has it by now
            return None
        place = int(rank) + 1 + (0 if lane == Priority.INTERACTIVE.value else int(interactive))
        done = sum(int(count or 0) for count in ended)
        return QueuePlace(place, place * (60 + time.time() % 60) / done if done else None)

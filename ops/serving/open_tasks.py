"""The tasks that a worker has claimed and not ended yet."""

import threading
from collections.abc import Callable

from models.request import Priority
from ops.serving.open_task import OpenTask


class OpenTasks:
    """A set of tasks, and the wish to hear when it changes. Safe for threads."""

    def __init__(self) -> None:
        self._tasks: dict[str, OpenTask] = {}
        self._changed = threading.Condition()

    def add(self, task: OpenTask) -> None:
        """One more."""
        with self._changed:
            self._tasks[task.id] = task

    def remove(self, task: OpenTask) -> None:
        """One less; nothing happens if it has left."""
        with self._changed:
            if self._tasks.get(task.id) is task:
                del self._tasks[task.id]
            self._changed.notify_all()

    def notify(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def get(self, task_id: str) -> OpenTask | None:
        """The task of this id."""
        return self._tasks.get(task_id)

    def all(self) -> list[OpenTask]:
        """The tasks now, the oldest first."""
        with self._changed:
            return list(self._tasks.values())

    def in_engine(self, lane: Priority | None = None) -> int:
        """Tasks with pictures still to be generated, of a lane or of both."""
        return sum(task.is_in_engine and lane in (None, task.priority) for task in self.all())

    def count(self, lane: Priority) -> int:
        """Tasks of a lane."""
        return sum(task.priority is lane for task in self.all())

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until the condition holds, looking again after each change; False if it still does not."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def __len__(self) -> int:
        return len(self._tasks)

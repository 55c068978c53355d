"""Results gathered until they are reported, in bounded memory however many there are."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ops.finish import FinishedPicture
from resources.queue import Task, TaskStatus

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TILES = 12
MAX_KEYS = 100
MAX_ERRORS = 5


@dataclass
class ResultGroup:
    """What became of the tasks of one day (UTC, of their creation) since the last report.

    Attributes:
        seconds: the sum over all pictures, by stage.
        keys: of the first originals; `tiles` are small copies of the first few.
        errors: of the first tasks that failed, each with the task's id.
    """

    day: str
    tasks: dict[TaskStatus, int] = field(default_factory=dict)
    pictures: int = 0
    size_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    tiles: "list[Image]" = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)

    def count(self, status: TaskStatus) -> int:
        """Tasks that ended so."""
        return self.tasks.get(status, 0)


class ResultGroups:
    """The groups not yet reported, one for each day. Safe for threads."""

    def __init__(self) -> None:
        self._groups: dict[str, ResultGroup] = {}
        self._lock = threading.Lock()

    def wants_tile(self, task: Task) -> bool:
        """Whether the contact sheet of the task's group has room."""
        with self._lock:
            group = self._groups.get(_day(task))
            return group is None or len(group.tiles) < MAX_TILES

    def add_picture(self, task: Task, picture: FinishedPicture) -> None:
        """A picture is stored."""
        with self._lock:
            group = self._group(task)
            group.pictures += 1
            group.size_bytes += picture.size_bytes
            if len(group.keys) < MAX_KEYS:
                group.keys.append(picture.plan.key)
            if picture.tile and len(group.tiles) < MAX_TILES:
                group.tiles.append(picture.tile)

    def add_task(self, task: Task, status: TaskStatus, seconds: dict[str, float], error: str = "") -> None:
        """A task has ended."""
        with self._lock:
            group = self._group(task)
            group.tasks[status] = group.count(status) + 1
            for stage, taken_s in seconds.items():
                group.seconds[stage] = group.seconds.get(stage, 0.0) + taken_s
            if error and len(group.errors) < MAX_ERRORS:
                group.errors.append((task.id, error))

    def take(self) -> list[ResultGroup]:
        """The groups gathered so far, which are forgotten here."""
        with self._lock:
            groups, self._groups = self._groups, {}
        return [groups[day] for day in sorted(groups)]

    def _group(self, task: Task) -> ResultGroup:
        return self._groups.setdefault(_day(task), ResultGroup(_day(task)))


def _day(task: Task) -> str:
    return datetime.fromtimestamp(task.created_at_s, UTC).strftime("%Y-%m-%d")

"""What the tasks of the request queue refer to."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from configs.settings import Settings
from models.request import STORED, input_references
from resources.queue import Task
from resources.queue.link import RedisLink
from resources.queue.reading import read_tasks

_PAGE = 500


@dataclass(frozen=True)
class TaskReferences:
    """The ids of all tasks that the queue still knows, and the keys of their pictures and uploads."""

    ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    def protects(self, on_demand_key: str) -> bool:
        """Whether a task has this picture, or may be about to store it."""
        stem = on_demand_key.partition("/")[2].rpartition("_")[0]
        return on_demand_key in self.keys or stem.partition("~")[0] in self.ids


def live_tasks(settings: Settings) -> TaskReferences:
    """Ask the queue about all of its tasks; a private Redis that never ran here has none.

    Raises:
        QueueUnavailableError: if Redis cannot be reached; then nobody knows, and nothing may be removed.
    """
    if not settings.queue.url.get_secret_value() and not settings.queue.path.is_dir():
        return TaskReferences()
    link = RedisLink(settings.queue)
    try:
        tasks = list(_tasks(link))
    finally:
        link.close()
    keys = (key for task in tasks for key in _keys(task))
    return TaskReferences(frozenset(task.id for task in tasks), frozenset(keys))


def _tasks(link: RedisLink) -> Iterator[Task]:
    prefix = f"{link.prefix}task:"
    names = link.call(lambda client: list(client.scan_iter(match=f"{prefix}*", count=_PAGE)))
    ids = iter(str(name).removeprefix(prefix) for name in names)
    while page := list(islice(ids, _PAGE)):
        yield from (task for task in read_tasks(link, page) if task)


def _keys(task: Task) -> Iterator[str]:
    for picture in task.result.pictures if task.result else ():
        yield from (picture.original_key, picture.thumb_key)
    for _, reference in input_references(task.request):
        if isinstance(reference, str) and reference.startswith(STORED):
            yield reference.removeprefix(STORED)

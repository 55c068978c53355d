"""Everything that is kept of a user: found in the queue and, for as long as the ledger goes back, in the store."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

from models.errors import InvalidRequestError
from models.recipe import Recipe
from resources.audit import AuditEvent
from resources.mark_records import RECORDS, record_of
from resources.object_store import ObjectStore
from resources.queue import RequestQueue, Task, UsageEntry
from resources.usage_ledger import FOLDER, UsageLedger

WAIT_S = 30.0
"""What workers are at is stopped within so long."""
_LOOK_AGAIN_S = 0.2
_PAGE = 100
_PICTURE = re.compile(r"\d{8}/(?P<picture>(?P<task>[^~]+?)(?:~\d+)?)(?:~\w+)*_\d+x\d+\.\w+")


@dataclass
class DeletedData:
    """What is gone. `left` are tasks that a worker has not let go of: ask again."""

    tasks: int = 0
    pictures: int = 0
    left: int = 0


def delete_pictures(store: ObjectStore, task: Task) -> int:
    """Delete a task's pictures, and the records that their invisible marks lead to; how many pictures those were."""
    pictures = task.result.pictures if task.result else ()
    for number, picture in enumerate(pictures, 1):
        keys = [picture.original_key, picture.thumb_key]
        with suppress(InvalidRequestError):  # written by another release: it has no mark that this one could read
            keys.append(picture.recipe and record_of(Recipe.from_json(picture.recipe), f"{task.id}~{number}"))
        for key in filter(None, keys):
            store.delete(key)
    return len(pictures)


class UserData:
    """The data of users in one queue and store; `deed` is the audit log's."""

    def __init__(
        self, store: ObjectStore, queue: RequestQueue, deed: Callable[..., AbstractContextManager[None]]
    ) -> None:
        self._store, self._queue, self._deed = store, queue, deed
        self._ledger = UsageLedger(store, queue)

    def delete(self, user: str, wait_s: float = WAIT_S) -> DeletedData:
        """Cancel a user's tasks and delete their records and pictures, at once and for good.

        The ledger keeps what they cost, for the accounts; uploads go with the nightly collection, since another user
        may have sent the same picture.
        """
        deleted = DeletedData()
        with self._deed(AuditEvent.USER_DELETED, told=lambda: asdict(deleted), user_id=user):
            self._ledger.collect()
            deadline = time.monotonic() + wait_s
            while (left := self._delete_tasks(user, deleted)) and time.monotonic() < deadline:
                time.sleep(_LOOK_AGAIN_S)
            deleted.left = left
            deleted.pictures += self._delete_former(user)
        return deleted

    def _delete_tasks(self, user: str, deleted: DeletedData) -> int:
        """Delete what has ended and cancel the rest; how many have not ended."""
        left, before_s, before_id = 0, None, ""
        while tasks := self._queue.owned(user, before_s=before_s, before_id=before_id, limit=_PAGE):
            for task in tasks:
                now = task if task.status.ended else self._queue.cancel(task.id)
                if now and not now.status.ended:
                    left += 1
                    continue
                deleted.pictures += delete_pictures(self._store, now) if now else 0
                deleted.tasks += self._queue.delete(task.id) is True
            before_s, before_id = tasks[-1].created_at_s, tasks[-1].id
        return left

    def _delete_former(self, user: str) -> int:
        """Delete what is stored of ended tasks whose records have expired; how many pictures those were."""
        tasks: dict[date, set[str]] = {}
        for entry in self._entries(user):
            ended = datetime.fromtimestamp(entry.ended_at_s, UTC).date()
            for day in (ended, ended - timedelta(1)):  # a task that began before midnight has its pictures there
                tasks.setdefault(day, set()).add(entry.task)
        pictures: set[str] = set()
        for day, ids in tasks.items():
            for stored in list(self._store.list(f"{day:%Y%m%d}/")):
                if (own := _PICTURE.fullmatch(stored.key)) and own["task"] in ids:
                    self._store.delete(stored.key)
                    pictures.add(own["picture"])
        everything = set().union(*tasks.values())
        for stored in list(self._store.list(RECORDS)) if everything else ():
            if stored.key.rpartition("/")[2].partition("~")[0] in everything:
                self._store.delete(stored.key)
        return len(pictures)

    def _entries(self, user: str) -> Iterator[UsageEntry]:
        """What the ledger has of a user."""
        if days := [stored.key.split("/")[1] for stored in self._store.list(FOLDER)]:
            first = datetime.strptime(min(days), "%Y%m%d").date()
            entries = self._ledger.entries(first, datetime.now(UTC).date())
            yield from (entry for entry in entries if entry.owner == user)

"""The producer's side of the queue: submit, ask, cancel."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from configs.queue_settings import QueueSettings
from resources.queue.errors import BudgetError, ConflictError, OwnerLimitError, QueueFullError, QueueUnavailableError
from resources.queue.link import RedisLink, compact_json
from resources.queue.reading import read_batch, read_tasks
from resources.queue.task import Batch, NewTask, Task, TaskStatus, new_batch_id
from resources.queue.usage import SpendingLimit

_SHORTEST_WAIT_S, _UNKNOWN_WAIT_S, _LONGEST_WAIT_S = 1, 30, 60
_ROOM = 0.05
"""Clients of a full queue are asked to come back when about this share of it should be done."""
_TASK_BYTES = 1_200
"""What a task takes in Redis beside its request."""
_LONG_BYTES, _BRIEF_CHARS = 2_000, 200
"""Of a request longer than this, an ended task keeps so much of every text."""
_LIMITS = {
    "tasks": "{most:,} of your tasks are remembered",
    "bytes": "your tasks take {most:,} bytes of the queue",
    "upload_bytes": "you have uploaded {most:,} bytes",
    "upload_pixels": "you have uploaded pictures of {most:,} pixels",
}
"""What an owner may have much of, by its name in the scripts; the setting is `max_owner_…`."""


@dataclass(frozen=True)
class UploadSize:
    """What the uploaded pictures of a request count."""

    bytes: int = 0
    pixels: int = 0


class Submitting:
    """The part of the queue that the gateway uses."""

    _link: RedisLink

    @property
    def max_waiting(self) -> int:
        """So many requests may wait."""
        return self._link.settings.max_waiting

    def submit(
        self,
        task: NewTask,
        *,
        owner: str,
        idempotency_key: str = "",
        uploads: UploadSize = UploadSize(),
        limits: Sequence[SpendingLimit] = (),
    ) -> Task:
        """Accept one task; when this returns, it is stored. One round trip.

        The same key, or the same id, with the same request gives the task that exists. A waiting task is remembered
        however long it waits; it is forgotten `task_ttl_s` after it ended, and its key with it; one that has pictures
        as long as their URLs live.

        Raises:
            ConflictError: the key or id was used for another request, or the id by another owner.
            QueueFullError: as many tasks wait as may; of the last hundredth of them, as may of an owner who has more
                than an even share.
            OwnerLimitError: the owner has as many tasks, bytes or uploads as one may.
            QueueUnavailableError: Redis cannot be used now. Whether the task was accepted is unknown; submitting it
                again with the same id or key is safe.
        """
        request = task.seeded()
        key = _once(self._link, owner, idempotency_key)
        verdict, found, created_ms = self._accept(
            [_stored(task, request)], owner, key, task.digest, uploads=uploads, limits=limits
        )
        if verdict == "new":
            return _waiting(task, owner, request, int(created_ms) / 1000)
        return self._known(found)

    def room(
        self,
        task: NewTask,
        *,
        owner: str,
        idempotency_key: str = "",
        uploads: UploadSize,
        limits: Sequence[SpendingLimit] = (),
    ) -> Task | None:
        """What `submit` would do now: the task that exists, or None if it would accept a new one.

        Raises what `submit` does.
        """
        stored, key = _stored(task, task.given), _once(self._link, owner, idempotency_key)
        verdict, found, _ = self._accept([stored], owner, key, task.digest, uploads=uploads, dry=True, limits=limits)
        return self._known(found) if verdict == "known" else None

    def _known(self, found: str) -> Task:
        known = self.task(found)
        if known is None:
            raise QueueUnavailableError(f"Task '{found}' was forgotten while it was asked for. Submit it again.")
        return known

    def submit_batch(
        self,
        tasks: Sequence[NewTask],
        *,
        owner: str,
        callback_url: str | None,
        idempotency_key: str = "",
        uploads: UploadSize = UploadSize(),
        limits: Sequence[SpendingLimit] = (),
    ) -> Batch:
        """Accept all of these tasks or none; `callback_url` is POSTed once, when the last of them has ended.

        The tasks of a batch are remembered as long as the batch at least: `task_ttl_s` after the last of them ended.
        Raises what `submit` does.
        """
        batch_id = new_batch_id()
        stored = [_stored(task, task.seeded()) for task in tasks]
        digest = hashlib.sha256(json.dumps([callback_url, *(new["digest"] for new in stored)]).encode()).hexdigest()
        key = _once(self._link, owner, idempotency_key)
        verdict, found, created_ms = self._accept(
            stored, owner, key, digest, batch_id, callback_url or "", uploads=uploads, limits=limits
        )
        if verdict == "new":
            ids = tuple(task.id for task in tasks)
            created_at_s = int(created_ms) / 1000
            return Batch(id=found, owner=owner, task_ids=ids, callback_url=callback_url, created_at_s=created_at_s)
        known = self.batch(found)
        if known is None:
            raise QueueUnavailableError(f"Batch '{found}' was forgotten while it was asked for. Submit it again.")
        return known

    def task(self, task_id: str) -> Task | None:
        """The task as it is now; None if it is unknown or forgotten."""
        return self.tasks([task_id])[0]

    def tasks(self, task_ids: Sequence[str]) -> list[Task | None]:
        """The tasks of these ids, in one round trip."""
        return read_tasks(self._link, task_ids)

    def batch(self, batch_id: str) -> Batch | None:
        """The batch of this id; None if it is unknown or forgotten."""
        return read_batch(self._link, batch_id)

    def owned(self, owner: str, *, before_s: float | None = None, before_id: str = "", limit: int = 50) -> list[Task]:
        """An owner's tasks, newest first; those created before `before_s` (Unix time) if it is given.

        Tasks of one millisecond, as those of a batch, come by their ids; with `before_id`, those of `before_s` that
        come after this one are among them.
        """
        before_ms = None if before_s is None else round(before_s * 1000)
        found: list[Task] = []
        place = 0
        while len(found) < limit:
            entries = self._owned_entries(owner, before_ms, place, limit)
            ids = [id for id, created_ms in entries if created_ms != before_ms or id < before_id]
            found += [task for task in self.tasks(ids) if task is not None]
            place += limit
            if len(entries) < limit:
                break
        return found[:limit]

    def cancel(self, task_id: str) -> Task | None:
        """Cancel a task and return it: at once while it waits; the worker that does it is told at its next heartbeat.

        A task that has ended stays as it is. None if it is unknown or forgotten.
        """
        self._link.run("cancel", {"id": task_id})
        return self.task(task_id)

    def delete(self, task_id: str) -> bool | None:
        """Forget a request that has ended, at once. False if it has not ended, None if there is none."""
        answer = self._link.run("delete", {"id": task_id})
        return {"deleted": True, "open": False}.get(answer)

    def _owned_entries(self, owner: str, newest_ms: int | None, place: int, count: int) -> list[tuple[str, int]]:
        """Ids, and when they were created in ms; within a millisecond the greatest id, by its bytes, comes first."""
        name = f"{self._link.prefix}owned:{owner}"
        newest = "+inf" if newest_ms is None else newest_ms

        def ask(client: Any) -> Any:
            return client.zrevrangebyscore(name, newest, "-inf", start=place, num=count, withscores=True)

        return [(str(id), int(created_ms)) for id, created_ms in self._link.call(ask)]

    def _accept(
        self,
        tasks: Sequence[dict[str, Any]],
        owner: str,
        once: str,
        digest: str,
        batch_id: str = "",
        callback_url: str = "",
        *,
        uploads: UploadSize = UploadSize(),
        dry: bool = False,
        limits: Sequence[SpendingLimit] = (),
    ) -> tuple[str, str, str]:
        """`new` or `known`, the id of the task or batch, and when it was made in ms; `room` instead if it is `dry`."""
        settings = self._link.settings
        added = {
            "tasks": len(tasks),
            "bytes": sum(map(_stored_bytes, tasks)),
            "upload_bytes": uploads.bytes,
            "upload_pixels": uploads.pixels,
        }
        answer = self._link.run(
            "submit",
            {
                "tasks": tasks,
                "owner": owner,
                "once": once,
                "digest": digest,
                "batch": batch_id,
                "callback": callback_url,
                "max_waiting": settings.max_waiting,
                "added": added,
                "most": {name: getattr(settings, f"max_owner_{name}") for name in _LIMITS},
                "dry": dry,
                "limits": [asdict(limit) for limit in limits],
            },
        )
        verdict, what, *more = answer if len(answer) > 1 else [*answer, ""]
        if verdict in ("full", "crowded"):
            wait_s = _wait_s(int(what), float(more[0]), settings.max_waiting)
            raise QueueFullError(settings.max_waiting, wait_s, crowded=verdict == "crowded")
        if verdict == "conflict":
            raise ConflictError(_conflict(what))
        if verdict == "spent":
            raise BudgetError(what)
        if verdict == "beyond":
            raise _beyond(settings, what, int(more[0]))
        return verdict, what, more[0] if more else "0"


def _stored(task: NewTask, request: dict[str, Any]) -> dict[str, Any]:
    text = compact_json(request)
    brief = (
        {"brief": compact_json({**_brief(request), "metadata": request["metadata"]})}
        if len(text.encode()) > _LONG_BYTES
        else {}
    )
    return {
        "id": task.id,
        "request": text,
        "digest": task.digest,
        "lane": task.request.priority.value,
        "callback": task.request.callback_url or "",
        "events": " ".join(task.request.callback_events),
        "inputs": any(task.request.inputs),
        "pictures": task.request.params.num_images,
        **brief,
    }


def _brief(data: Any) -> Any:
    """The same data with every long text cut."""
    match data:
        case str() if len(data) > _BRIEF_CHARS:
            return f"{data[:_BRIEF_CHARS]}…"
        case dict():
            return {name: _brief(value) for name, value in data.items()}
        case list():
            return [_brief(value) for value in data]
    return data


def _stored_bytes(stored: dict[str, Any]) -> int:
    texts = (stored["request"], stored.get("brief", ""), stored["callback"])
    return _TASK_BYTES + sum(len(text.encode()) for text in texts)


def _beyond(settings: QueueSettings, name: str, wait_s: int) -> OwnerLimitError:
    setting = f"max_owner_{name}"
    what = _LIMITS[name].format(most=getattr(settings, setting))
    return OwnerLimitError(what[0].upper() + what[1:], setting, max(1, wait_s))


def _waiting(task: NewTask, owner: str, request: dict[str, Any], created_at_s: float) -> Task:
    return Task(
        id=task.id,
        owner=owner,
        status=TaskStatus.WAITING,
        progress=0,
        request=request,
        batch_id=None,
        callback_url=task.request.callback_url,
        created_at_s=created_at_s,
        updated_at_s=created_at_s,
        result=None,
        error="",
        deliveries=0,
    )


def _once(link: RedisLink, owner: str, idempotency_key: str) -> str:
    """The Redis key that remembers what an owner's idempotency key was used for; "" for none."""
    if not idempotency_key:
        return ""
    return f"{link.prefix}once:{hashlib.sha256(json.dumps([owner, idempotency_key]).encode()).hexdigest()}"


def _conflict(what: str) -> str:
    if what == "key":
        return "This idempotency key was used for another request. Use a new key for a new request."
    return f"Task id '{what}' was used for another request. Use a new id for a new request."


def _wait_s(ended: int, within_s: float, max_waiting: int) -> int:
    """When there should be room again, from how many tasks ended lately."""
    if not ended:
        return _UNKNOWN_WAIT_S
    return round(min(max(_ROOM * max_waiting * within_s / ended, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))

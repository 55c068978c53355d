"""Callbacks that are due: recorded in the step that ends a task or batch, kept until one is delivered or given up."""

from collections.abc import Mapping, Sequence
from typing import Any

from foundation.error_text import error_text
from foundation.value_object import ValueObject
from resources.queue.link import RedisLink
from resources.queue.reading import read_batch, read_tasks
from resources.queue.task import Batch, Task, TaskStatus


class DueCallback(ValueObject):
    """A callback to deliver now. Every attempt has the same `id` and the same content: what it tells of has ended.

    `payload` is that of the status call (INTERFACES.md §2) without URLs; whoever delivers it adds them from `tasks`.
    """

    id: str
    url: str
    event: str
    payload: dict[str, Any]
    owner: str
    attempt: int
    task_id: str | None
    batch_id: str | None
    tasks: tuple[Task, ...]


class CallbackBox:
    """The part of the queue that callbacks are delivered from."""

    _link: RedisLink

    def take_due_callbacks(
        self,
        worker: str,
        limit: int,
        lease_s: float,
        *,
        owner_limit: int | None = None,
        under_way: Mapping[str, int] | None = None,
    ) -> list[DueCallback]:
        """Up to `limit` callbacks that are due, each nobody else's for `lease_s`; then it is due again.

        An owner gets `owner_limit` of them at most, less those `under_way`, so that slow receivers of one delay only
        its own. A callback is forgotten with its task or batch, `task_ttl_s` after that ended.
        """
        arguments = {
            "worker": worker,
            "count": limit,
            "lease_ms": max(1, round(lease_s * 1000)),
            "owner_limit": limit if owner_limit is None else owner_limit,
            "under_way": dict(under_way or {}),
        }
        taken = self._link.run("take_callbacks", arguments)
        due = (self._due(*fields) for fields in taken)
        return [callback for callback in due if callback is not None]

    def callback_done(self, callback: DueCallback) -> None:
        """It was delivered."""
        self._settle(callback, "")

    def callback_failed(self, callback: DueCallback, retry_at_s: float | None) -> None:
        """It was not delivered; it is due again at `retry_at_s` (Unix time), or given up if that is None."""
        self._settle(callback, "" if retry_at_s is None else str(round(retry_at_s * 1000)))

    def callbacks_waiting(self) -> int:
        """How many callbacks are due now or later."""
        return self._link.call(lambda client: int(client.zcard(f"{self._link.prefix}callbacks")))

    def _settle(self, callback: DueCallback, retry_ms: str) -> None:
        self._link.run("settle_callback", {"id": callback.id, "attempt": callback.attempt, "retry_ms": retry_ms})

    def _due(self, id: str, kind: str, ref: str, url: str, owner: str, attempt: int) -> DueCallback | None:
        batch = read_batch(self._link, ref) if kind == "batch" else None
        tasks = tuple(task for task in read_tasks(self._link, batch.task_ids if batch else [ref]) if task)
        if not tasks:
            return None
        return DueCallback(
            id=id,
            url=url,
            event="batch.ended" if batch else f"task.{tasks[0].status}",
            payload=batch_payload(batch, tasks) if batch else task_payload(tasks[0]),
            owner=owner,
            attempt=attempt,
            task_id=None if batch else ref,
            batch_id=ref if batch else None,
            tasks=tasks,
        )


def task_payload(task: Task) -> dict[str, Any]:
    """A task as the status call shows it, without URLs."""
    payload: dict[str, Any] = {"task_id": task.name, "status": task.status.value, "progress": task.progress}
    if task.result:
        picture = task.result.pictures[0]
        size = f"{picture.width_px}×{picture.height_px}"
        payload["result"] = {"resolution": size, "format": picture.format, "size": picture.size_bytes}
    if task.status == TaskStatus.FAILED:
        payload["error_msg"] = error_text(task.error)
    return payload


def batch_payload(batch: Batch, tasks: Sequence[Task]) -> dict[str, Any]:
    """A batch as the status call shows it, without URLs; its counts are those of `tasks`."""
    counts = {status: sum(task.status == status for task in tasks) for status in TaskStatus}
    return {
        "batch_task_id": batch.id,
        "total": len(batch.task_ids),
        "success_count": counts[TaskStatus.SUCCESS],
        "failed_count": counts[TaskStatus.FAILED],
        "waiting_count": counts[TaskStatus.WAITING],
        "progress": sum(100 if task.status.ended else task.progress for task in tasks) // max(1, len(tasks)),
        "tasks": [task_payload(task) for task in tasks],
    }

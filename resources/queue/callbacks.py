"""Callbacks that are due: recorded in the step that ends a task or batch, kept until one is delivered or given up."""

from collections.abc import Mapping

from foundation.value_object import ValueObject
from resources.queue.link import RedisLink
from resources.queue.reading import read_batch, read_tasks
from resources.queue.task import Task


class DueCallback(ValueObject):
    """A callback to deliver now. Every attempt has the same `id` and the same content: what it tells of has ended."""

    id: str
    url: str
    event: str
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

    def callback_failed(self, callback: DueCallback, retry_in_s: float | None) -> None:
        """It was not delivered; it is due again in so long, or given up if that is None."""
        self._settle(callback, "" if retry_in_s is None else round(retry_in_s * 1000))

    def callbacks_waiting(self) -> int:
        """How many callbacks are due now or later."""
        return self._link.call(lambda client: int(client.zcard(f"{self._link.prefix}callbacks")))

    def _settle(self, callback: DueCallback, retry_ms: int | str) -> None:
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
            owner=owner,
            attempt=attempt,
            task_id=None if batch else ref,
            batch_id=ref if batch else None,
            tasks=tasks,
        )

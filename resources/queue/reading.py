"""Reading tasks and batches from Redis."""

import json
from collections.abc import Sequence
from typing import Any

from resources.queue.link import RedisLink
from resources.queue.task import Batch, Task, read_task


def read_tasks(link: RedisLink, ids: Sequence[str]) -> list[Task | None]:
    """The tasks of these ids in one round trip; None for each that is unknown or forgotten."""
    hashes = _hashes(link, [f"{link.prefix}task:{id}" for id in ids])
    return [read_task(id, fields) if "status" in fields else None for id, fields in zip(ids, hashes, strict=True)]


def read_batch(link: RedisLink, batch_id: str) -> Batch | None:
    """The batch of this id; None if it is unknown or forgotten."""
    (fields,) = _hashes(link, [f"{link.prefix}batch:{batch_id}"])
    if not fields:
        return None
    return Batch(
        id=batch_id,
        owner=fields["owner"],
        task_ids=tuple(json.loads(fields["tasks"])),
        callback_url=fields["callback"] or None,
        created_at_s=int(fields["created"]) / 1000,
    )


def _hashes(link: RedisLink, keys: Sequence[str]) -> list[dict[str, str]]:
    def ask(client: Any) -> list[dict[str, str]]:
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            answers: list[dict[str, str]] = pipeline.execute()
        return answers

    return link.call(ask) if keys else []

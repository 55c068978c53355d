"""Previews of one task for one caller who watches."""

import time
from collections.abc import Sequence
from contextlib import suppress

from gateway.changes import LOOK_AGAIN_S
from gateway.errors import ServiceError, service_errors
from gateway.http_face import HttpFace
from resources.queue import Preview, Task


class PreviewWatch:
    """Says that somebody watches, and tells what is new. For one event loop."""

    def __init__(self, face: HttpFace, task: Task) -> None:
        self._face, self._queue, self._id = face, face.service.queue, task.id
        self._said_at_s = float("-inf")
        self._seen = 0
        self._last: dict[int, Preview] = {}

    async def news(self, now: Task) -> Sequence[Preview]:
        """The previews that have come since the last call, given the task as it is; none while the queue is away."""
        if now.status.ended:
            return ()
        with suppress(ServiceError):
            if time.monotonic() - self._said_at_s >= LOOK_AGAIN_S:
                await self._face.call(service_errors()(self._queue.watch), self._id)
                self._said_at_s = time.monotonic()
            if now.previews > self._seen:
                found = await self._face.call(service_errors()(self._queue.previews), self._id)
                self._seen, last, self._last = now.previews, self._last, dict(found)
                return [one for number, one in found.items() if last.get(number) != one]
        return ()

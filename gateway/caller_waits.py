"""Calls that wait for pictures: one whose caller hangs up, and does not come back, has them cancelled."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from gateway.errors import ServiceError, service_errors
from gateway.http_face import HttpFace
from resources.queue import QueueUnavailableError, Task

logger = logging.getLogger(__name__)

T = TypeVar("T")

COMES_BACK_WITHIN_S = 12.0
"""Clients that have run out of patience send the call again within so long: OpenAI's wait 8 s at most."""


class CallerWaits:
    """The waiting calls of this process. For one event loop."""

    def __init__(self, face: HttpFace) -> None:
        self._face = face
        self._queue = face.service.queue
        self._given_up: set[asyncio.Task[None]] = set()

    async def while_connected(self, request: Request, task: Task, wait: Coroutine[Any, Any, T]) -> T:
        """What the wait for a task comes to.

        Raises:
            ClientDisconnect: the caller has hung up. The task is cancelled, unless the call comes again meanwhile.
        """
        async with self.waiting(task):
            return await while_connected(request, wait)

    @asynccontextmanager
    async def waiting(self, task: Task) -> AsyncIterator[None]:
        """A wait for a task; where its caller hangs up, which ends it, the task is cancelled, as above."""
        token = await self._face.call(self._noted, task)
        try:
            yield
        except (ClientDisconnect, asyncio.CancelledError, GeneratorExit):
            self._give_up(task, token)
            raise

    def _noted(self, task: Task) -> str:
        """What this caller is known by; "" while the queue is away, and its task then is made in any case."""
        try:
            return self._queue.note_caller(task.id)
        except QueueUnavailableError:
            return ""

    def _give_up(self, task: Task, token: str) -> None:
        giving_up = asyncio.ensure_future(self._cancel_later(task, token))
        self._given_up.add(giving_up)
        giving_up.add_done_callback(self._given_up.discard)

    async def _cancel_later(self, task: Task, token: str) -> None:
        await asyncio.sleep(COMES_BACK_WITHIN_S)
        try:
            await self._face.call(self._cancel_unless_wanted, task, token)
        except ServiceError as exc:
            logger.warning("task %s is made though its caller has hung up: %s", task.id, exc)

    @service_errors()
    def _cancel_unless_wanted(self, task: Task, token: str) -> None:
        if self._queue.is_last_caller(task.id, token):
            logger.info("task %s: its caller has hung up and not come back", task.id)
            self._queue.cancel(task.id)


async def while_connected(request: Request, wait: Coroutine[Any, Any, T]) -> T:
    """What a wait comes to; ClientDisconnect once its caller has hung up."""
    waiting = asyncio.ensure_future(wait)
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((waiting, hung_up), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        return waiting.result()
    finally:
        for one in (waiting, hung_up):
            one.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

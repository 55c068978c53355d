"""Tasks that gRPC callers watch."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from gateway.changes import TaskChanges
from gateway.errors import ServiceError
from gateway.grpc_scheduler import Scheduler
from gateway.service import GatewayService
from gateway.streams import RETRY_S, StreamHolder, StreamPlaces
from gateway.stubs import imagegenx_pb2 as pb2
from resources.queue import TaskStatus


class Watches:
    """The tasks that callers watch. For one event loop."""

    def __init__(self, service: GatewayService, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._changes = TaskChanges(service.queue)
        self._places = StreamPlaces(service.settings.gateway.max_event_streams)

    def start(self) -> None:
        """Begin to hear of changes, on the event loop that runs now."""
        self._changes.start(asyncio.get_running_loop())

    async def end(self) -> None:
        """End every watch."""
        await asyncio.to_thread(self._changes.join)

    async def follow(
        self, request: pb2.QueryTaskRequest, run: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> AsyncGenerator[pb2.QueryTaskResponse, None]:
        """Every state of the task, until it has ended or is gone; while the queue is away, none.

        Args:
            run: runs a blocking call on a thread.
        Raises:
            ServiceError: 503 when the gateway shuts down before.
        """
        account, task = await run(lambda: self._scheduler.watched(request))
        told = None
        with self._places.taken(StreamHolder.of_key(account)):
            async with aclosing(self._changes.follow(task.id)) as changes:
                async for _ in changes:
                    try:
                        state = await run(lambda: self._scheduler.look(request))
                    except ServiceError as exc:
                        if exc.code >= 500:
                            continue
                        raise
                    if state != told:
                        told = state
                        yield state
                    if TaskStatus(state.status.status).ended:
                        return
        raise ServiceError(503, "The gateway is shutting down. Watch the task again.", retry_after_s=RETRY_S)

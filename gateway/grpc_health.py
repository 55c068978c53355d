"""The gRPC health service (grpc.health.v1), which tells what the gateway's own health check tells."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH

from gateway.service import GatewayService

LOOK_EVERY_S = 2.0
"""How old the state is at most that those who watch are told."""

_STATES = health_pb2.HealthCheckResponse


class ServiceHealth(health_pb2_grpc.HealthServicer):
    """SERVING while the request queue can be reached, and NOT_SERVING for good once the server shuts down.

    For one event loop. One who watches costs no thread, so that any number of them leaves the calls theirs.
    """

    def __init__(self, service: GatewayService, name: str) -> None:
        self._service = service
        self._names = (OVERALL_HEALTH, name)
        self._serving = True
        self._ending = False
        self._looked_at_s = float("-inf")
        self._news = asyncio.Event()

    async def look(self) -> None:
        """Ask the gateway how it is; those who Watch hear of a change."""
        self._looked_at_s = time.monotonic()
        healthy = (await asyncio.to_thread(self._service.health)).code == 200
        self._tell(healthy and not self._ending)

    def end(self) -> None:
        """NOT_SERVING from now on."""
        self._ending = True
        self._tell(False)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> health_pb2.HealthCheckResponse:
        """The state of this moment."""
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        await self.look()
        return health_pb2.HealthCheckResponse(status=self._state(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """The state that was seen last, and every change of it."""
        told = None
        while True:
            state, news = self._state(request.service), self._news
            if state != told:
                yield health_pb2.HealthCheckResponse(status=state)
            told = state
            try:
                await asyncio.wait_for(news.wait(), LOOK_EVERY_S)
            except TimeoutError:
                await self._look_if_due()

    async def _look_if_due(self) -> None:
        """One look for all who watch: nobody else may ask."""
        if time.monotonic() - self._looked_at_s >= LOOK_EVERY_S:
            await self.look()

    def _state(self, name: str) -> Any:
        known = _STATES.SERVING if self._serving else _STATES.NOT_SERVING
        return known if name in self._names else _STATES.SERVICE_UNKNOWN

    def _tell(self, serving: bool) -> None:
        self._serving = serving
        self._news.set()
        self._news = asyncio.Event()

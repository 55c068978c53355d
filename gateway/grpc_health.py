"""The gRPC health service (grpc.health.v1), which tells what the gateway's own health check tells."""

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import OVERALL_HEALTH, HealthServicer

from gateway.service import GatewayService


class ServiceHealth(HealthServicer):
    """SERVING while the request queue can be reached, and NOT_SERVING for good once the server shuts down."""

    def __init__(self, service: GatewayService, name: str) -> None:
        super().__init__()
        self._service = service
        self._names = (OVERALL_HEALTH, name)
        self._look()

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """The state of this moment; those who Watch hear of it as well."""
        self._look()
        return super().Check(request, context)

    def _look(self) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if self._service.health().code == 200 else states.NOT_SERVING
        for name in self._names:
            self.set(name, state)

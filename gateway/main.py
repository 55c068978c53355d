"""The gateway process: HTTP, gRPC and the deliverer of callbacks, until SIGTERM or Ctrl-C."""

import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from configs.gateway_settings import GatewaySettings
from configs.settings import Settings
from foundation.errors import ImageGenXError
from foundation.logs import set_up_logs
from gateway.callbacks import CallbackDeliverer
from gateway.connections import room_for_clients
from gateway.grpc_server import start_grpc
from gateway.http_app import build_app
from gateway.http_face import OWNER_SHARE
from gateway.http_server import HttpLimits, HttpServer
from gateway.metrics import GatewayMetrics
from gateway.metrics_server import MetricsServer
from gateway.service import GatewayService
from gateway.usage_keeper import UsageKeeper
from models.registry import open_registry
from resources.accounts import open_accounts
from resources.open_store import open_store
from resources.queue import RequestQueue
from resources.queue.link import RedisLink

logger = logging.getLogger(__name__)

GRACE_S = 10
"""Calls that have begun get so long to end after SIGTERM, s."""
METRICS_PORT = 9464
"""The usual port of metrics, if none is configured."""


class PortInUseError(ImageGenXError):
    """The gateway cannot listen where it should."""


def run_gateway(settings: Settings) -> None:
    """Serve until a signal; returns once every call that had begun is answered.

    Raises:
        PortInUseError: if another process listens there.
    """
    set_up_logs(settings.logs)
    gateway = settings.gateway
    http, grpc = room_for_clients(gateway.max_connections, gateway.max_grpc_connections)
    limits = HttpLimits(http, min(http, gateway.max_client_connections), GRACE_S)
    with _listener(gateway.host, gateway.http_port) as listener, _metrics_listener(gateway) as metrics:
        port = listener.getsockname()[1]
        service = open_service(_on_port(settings, port))
        app = build_app(service)
        app.state.face.most_waiting = max(1, http // OWNER_SHARE)
        server = HttpServer(app, limits, app.state.face.changes.close, app.state.metrics.observe_call)
        with _beside(service, grpc, app.state.metrics, metrics):
            gc.freeze()  # what is here now stays, and is not looked through again and again
            logger.info("HTTP on %s", service.settings.gateway.http_url)
            for ending in (signal.SIGTERM, signal.SIGINT):
                signal.signal(ending, lambda *_: None)  # uvicorn raises it again once it has shut down
            server.run([listener])


def open_service(settings: Settings) -> GatewayService:
    """The service over the configured registry, queue, accounts and store; closing its queue closes all of Redis."""
    link = RedisLink(settings.queue)
    accounts, store = open_accounts(settings, link), open_store(settings.store)
    return GatewayService(settings, open_registry(settings), RequestQueue(link), accounts, store)


@contextmanager
def _beside(
    service: GatewayService, grpc_connections: int, counted: GatewayMetrics, listener: socket.socket
) -> Iterator[None]:
    """What runs beside HTTP in this process: gRPC, the deliverer of callbacks, and the metrics."""
    gateway = service.settings.gateway
    deliverer = CallbackDeliverer(service)
    keeper = UsageKeeper(service.store, service.queue)
    metrics = MetricsServer(counted.exposition, listener)
    grpc = start_grpc(service, gateway.host, gateway.grpc_port, grpc_connections, counted.observe_call)
    deliverer.start()
    metrics.start()
    keeper.start()
    try:
        yield
    finally:
        grpc.stop(GRACE_S)
        deliverer.stop()
        metrics.stop()
        keeper.stop()


def _on_port(settings: Settings, port: int) -> Settings:
    """The settings with the port that is listened on, which URLs name."""
    return settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"http_port": port})})


def _metrics_listener(gateway: GatewaySettings) -> socket.socket:
    """Where the metrics are; if no port is configured, a free one where the usual one is in use."""
    if gateway.metrics_port is not None:
        return _listener(gateway.metrics_host, gateway.metrics_port, "metrics_")
    with suppress(PortInUseError):
        return _listener(gateway.metrics_host, METRICS_PORT, "metrics_")
    return _listener(gateway.metrics_host, 0, "metrics_")


def _listener(host: str, port: int, which: str = "") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as exc:
        raise PortInUseError(
            f"cannot listen on {host}:{port}: {os.strerror(exc.errno or 0)}. End what listens there, or set another "
            f"gateway.{which}host or gateway.{which or 'http_'}port."
        ) from exc

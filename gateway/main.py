"""The gateway process: HTTP, gRPC and the deliverer of callbacks, until SIGTERM or Ctrl-C."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from configs.errors import ImageGenXError
from configs.logs import set_up_logs
from configs.settings import Settings
from gateway.callbacks import CallbackDeliverer
from gateway.changes import TaskChanges
from gateway.grpc_server import start_grpc
from gateway.http_app import build_app
from gateway.http_page import is_loopback
from gateway.service import GatewayService
from models.registry import open_registry
from resources.accounts import open_accounts
from resources.object_store import open_store
from resources.queue import RequestQueue
from resources.queue.link import RedisLink

logger = logging.getLogger(__name__)

GRACE_S = 10
"""Calls that have begun get so long to end after SIGTERM, s."""


class PortInUseError(ImageGenXError):
    """The gateway cannot listen where it should."""


def run_gateway(settings: Settings) -> None:
    """Serve until a signal; returns once every call that had begun is answered.

    Raises:
        PortInUseError: if another process listens there.
    """
    set_up_logs(settings.logs)
    gateway = settings.gateway
    with _listener(gateway.host, gateway.http_port) as listener:
        port = listener.getsockname()[1]
        service = open_service(_on_port(settings, port))
        server = _Server(build_app(service))
        with _beside(service):
            logger.info("HTTP on %s", service.settings.gateway.http_url)
            for ending in (signal.SIGTERM, signal.SIGINT):
                signal.signal(ending, lambda *_: None)  # uvicorn raises it again once it has shut down
            server.run([listener])


def open_service(settings: Settings) -> GatewayService:
    """The service over the configured registry, queue, accounts and store; closing its queue closes all of Redis."""
    if settings.gateway.page_key and not is_loopback(settings.gateway.host):
        logger.warning("gateway.page_key has no effect: %s is not a loopback address", settings.gateway.host)
    link = RedisLink(settings.queue)
    accounts, store = open_accounts(settings, link), open_store(settings.store)
    return GatewayService(settings, open_registry(settings), RequestQueue(link), accounts, store)


@contextmanager
def _beside(service: GatewayService) -> Iterator[None]:
    """What runs beside HTTP in this process: gRPC, and the deliverer of callbacks."""
    gateway = service.settings.gateway
    deliverer = CallbackDeliverer(service)
    grpc = start_grpc(service, gateway.host, gateway.grpc_port)
    deliverer.start()
    try:
        yield
    finally:
        grpc.stop(GRACE_S)
        deliverer.stop()


def _on_port(settings: Settings, port: int) -> Settings:
    """The settings with the port that is listened on, which URLs name."""
    return settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"http_port": port})})


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=2048)
    except OSError as exc:
        raise PortInUseError(
            f"cannot listen on {host}:{port}: {os.strerror(exc.errno or 0)}. End what listens there, or set another "
            "gateway.host or gateway.http_port."
        ) from exc


class _Server(uvicorn.Server):
    """uvicorn, which also ends streams of events when it is told to stop."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._changes: TaskChanges = app.state.face.changes

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down."""
        self._changes.close()
        super().handle_exit(sig, frame)

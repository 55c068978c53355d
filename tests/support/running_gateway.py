"""The HTTP face on a real port, in a thread of the test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from gateway.http_app import build_app
from gateway.http_server import HttpLimits, HttpServer
from gateway.metrics_server import MetricsServer
from gateway.service import GatewayService
from tests.support.waiting import wait_until

LIMITS = HttpLimits(connections=500, connections_per_client=500, grace_s=2)


@dataclass(frozen=True)
class RunningGateway:
    """Where a gateway listens."""

    url: str
    metrics_url: str
    app: FastAPI
    service: GatewayService


@contextmanager
def running_gateway(service: GatewayService, limits: HttpLimits = LIMITS, port: int = 0) -> Iterator[RunningGateway]:
    """Serve until the block ends, on this port or a free one."""
    app = build_app(service)
    with socket.create_server(("127.0.0.1", port)) as listener, socket.create_server(("127.0.0.1", 0)) as metrics:
        server = HttpServer(app, limits, observe=app.state.metrics.observe_call)
        metrics_server = MetricsServer(app.state.metrics.exposition, metrics)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        metrics_server.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the gateway did not start"
            url, metrics_url = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (listener, metrics))
            yield RunningGateway(url, f"{metrics_url}/metrics", app, service)
        finally:
            app.state.face.changes.close()
            server.should_exit = True
            thread.join()
            metrics_server.stop()

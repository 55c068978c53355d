"""The HTTP face on a real port, in a thread of the test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from gateway.http_app import build_app
from gateway.service import GatewayService
from tests.waiting import wait_until


@dataclass(frozen=True)
class RunningGateway:
    """Where a gateway listens."""

    url: str
    app: FastAPI
    service: GatewayService


@contextmanager
def running_gateway(service: GatewayService) -> Iterator[RunningGateway]:
    """Serve until the block ends."""
    app = build_app(service)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the gateway did not start"
            yield RunningGateway(f"http://127.0.0.1:{listener.getsockname()[1]}", app, service)
        finally:
            app.state.face.changes.close()
            server.should_exit = True
            thread.join()

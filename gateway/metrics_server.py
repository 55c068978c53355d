"""The metrics on a port of their own, answered by a thread of its own from a text that is made once a second."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from gateway.http_server import HttpLimits, HttpServer

logger = logging.getLogger(__name__)

FRESH_S = 1.0
"""The text is made anew at most this often, however many ask for it."""
PAUSE_S = 0.02
"""Between two answers, so that those who ask take no more than a few hundredths of a processor from the calls."""
_LIMITS = HttpLimits(connections=32, connections_per_client=32, grace_s=1)


class MetricsServer:
    """Answers `GET /metrics` in Prometheus' text format, until it is stopped."""

    def __init__(self, exposition: Callable[[], bytes], listener: socket.socket) -> None:
        self._exposition = exposition
        self._listener = listener
        self._text = b""
        self._made_at_s = float("-inf")
        self._turn = asyncio.Lock()
        self._server = HttpServer(self._answer, _LIMITS)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="metrics-http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        host, port = self._listener.getsockname()[:2]
        logger.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)

    def stop(self) -> None:
        """End."""
        self._server.should_exit = True
        self._thread.join()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        found = scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD")
        body = await self._recent() if found else b"This port has GET /metrics alone.\n"
        headers = [
            (b"content-type", b"text/plain; version=0.0.4; charset=utf-8" if found else b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _recent(self) -> bytes:
        """The text, at most `FRESH_S` old; one asks after the other."""
        async with self._turn:
            if time.monotonic() - self._made_at_s > FRESH_S:
                self._text = await asyncio.to_thread(self._exposition)
                self._made_at_s = time.monotonic()
            else:
                await asyncio.sleep(PAUSE_S)
            return self._text

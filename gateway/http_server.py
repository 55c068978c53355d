"""The HTTP server: uvicorn, with limits of connections, of headers, and of the time that a request takes to arrive."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.connections import Connections, client_of
from gateway.guard import Observe

MAX_HEAD_BYTES = 32_768
"""The request line and all headers, trailers among them."""
MAX_HEADERS = 100
MAX_PIPELINED = 16
"""Requests that one connection has sent ahead of their answers."""
HEAD_TIMEOUT_S = 10.0
"""For the headers of a request, from the moment at which the connection is free for it."""
BODY_TIMEOUT_S = 125.0
"""For the body: a little more than forms have."""
FIRST_BYTES = 16_384
"""Of a body that have to be there before its request is looked at: one that never comes costs next to nothing."""
UNREAD_TIMEOUT_S = 60.0
"""A client that reads nothing of its answer is given up after so long, s."""


@dataclass(frozen=True)
class HttpLimits:
    """How many connections may be open, and how long calls under way have when the server ends."""

    connections: int
    connections_per_client: int
    grace_s: int


class HttpServer(uvicorn.Server):
    """uvicorn over an app, on sockets that listen already.

    Args:
        on_exit: called when a signal says that the server is to end, before it does.
        observe: told of connections that are refused since too many are open; the app sees to its calls.
    """

    def __init__(
        self,
        app: Any,
        limits: HttpLimits,
        on_exit: Callable[[], None] = lambda: None,
        observe: Observe = lambda *_: None,
    ) -> None:
        super().__init__(_Config(app, limits, observe))
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to shut down."""
        self._on_exit()
        super().handle_exit(sig, frame)


class _Config(uvicorn.Config):
    """What the protocol of each connection finds its limits in."""

    def __init__(self, app: Any, limits: HttpLimits, observe: Observe) -> None:
        super().__init__(
            app,
            loop="uvloop",
            http=_LimitedProtocol,
            ws="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=limits.grace_s,
        )
        self.observe = observe
        self.open_connections = Connections(limits.connections, limits.connections_per_client)


class _RefusedError(Exception):
    """Raised inside the parser, which then reads no further."""


class _LimitedProtocol(HttpToolsProtocol):
    """A connection with limits.

    `_unread_bytes` counts what has come since the parser last told of a part: a header, a piece of body, a chunk.
    `_held` is a request that nobody has looked at yet, since neither its end nor its first bytes are there.
    """

    config: _Config

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection if there is room."""
        self._places = self.config.open_connections
        self._timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._held: tuple[RequestResponseCycle, Any] | None = None
        self._refusal = (400, "This is not a valid HTTP request.")
        self._head_bytes = self._unread_bytes = 0
        self._receiving = self._refused = False
        peer = transport.get_extra_info("peername")
        self.peer = client_of(str(peer[0]) if peer else "")
        self._counted = self._places.opened(self)
        super().connection_made(transport)
        if self._counted:
            self._wait(HEAD_TIMEOUT_S)
        else:
            self.config.observe("", "connection", 503, 0.0)
            self._refuse(503, "Too many connections are open. Close some, or try again later.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        if self._counted:
            self._places.closed(self)
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def make_way(self) -> None:
        """Close for a new connection, at once."""
        self._give_back()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse, within the limits."""
        if self._refused or self.transport.is_closing():
            return
        self._unread_bytes += len(data)
        self._data = data
        super().data_received(data)
        if self._unread_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(*_TOO_LONG)

    def on_message_begin(self) -> None:
        """A request begins; it has until the time that the connection has."""
        self._head_bytes, self._receiving = 0, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        self._add_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._add_head(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._stop_parsing(431, f"A request may have at most {MAX_HEADERS} headers.")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The body may come."""
        self._unread_bytes = 0
        if self._asks_for_another_protocol():
            return
        if len(self.pipeline) >= MAX_PIPELINED:
            self._stop_parsing(400, f"More than {MAX_PIPELINED} requests are ahead of their answers.")
        self._start_timer(BODY_TIMEOUT_S)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """A chunk of a body begins."""
        self._unread_bytes = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unread_bytes = 0
        super().on_body(body)
        if self._held and len(self._held[0].body) >= FIRST_BYTES:
            self._look_at_held()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._asks_for_another_protocol():
            return
        self._unread_bytes, self._receiving = 0, False
        if self.cycle.response_complete:
            self._wait(HEAD_TIMEOUT_S)
        else:
            self._stop_timer()
            self._places.works(self)
        super().on_message_complete()
        self._look_at_held()

    def shutdown(self) -> None:
        """Close, or let the request under way be the last one."""
        if self._held:
            self.transport.close()
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """The next request may come, or the rest of one that was answered early."""
        super().on_response_complete()
        if not self.cycle.response_complete:
            return
        if self._timer is None or not self._receiving:
            self._wait(HEAD_TIMEOUT_S)
        else:
            self._places.waits(self)

    def pause_writing(self) -> None:
        """The client does not read what is written."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(UNREAD_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        if self._unread_timer:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one beyond the limits, as every refusal is answered."""
        self._refuse(*self._refusal)

    def _asks_for_another_protocol(self) -> bool:
        """Java's client does, of each server, in its first request: `Upgrade: h2c`."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _unsupported_upgrade_warning(self) -> None:
        """Read a request anew as if it had not asked for another protocol: the parser takes its body for that."""
        if not self._asks_for_another_protocol():
            return
        parser, rest = self.parser, self._data[sys.exc_info()[1].args[0] :]  # type: ignore[union-attr]
        head = [b"%s %s HTTP/%s" % (parser.get_method(), self.url, parser.get_http_version().encode())]
        head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = type(parser)(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.data_received(b"\r\n".join([*head, b"", rest]))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not cycle.more_body:
            super()._start_asgi_task(cycle, app)
            return
        self._held = cycle, app
        if cycle.waiting_for_100_continue:
            cycle.waiting_for_100_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _look_at_held(self) -> None:
        if self._held:
            held, self._held = self._held, None
            super()._start_asgi_task(*held)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self._held

    def _wait(self, timeout_s: float) -> None:
        self._places.waits(self)
        self._start_timer(timeout_s)

    def _start_timer(self, timeout_s: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(timeout_s, self._too_late)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if self._receiving and not self._is_answering():
            self._refuse(408, "The request did not arrive in time. Send it again.")
        else:
            self.transport.close()

    def _add_head(self, size: int) -> None:
        self._unread_bytes = 0
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop_parsing(*_TOO_LONG)

    def _stop_parsing(self, code: int, text: str) -> None:
        self._refusal = (code, text)
        raise _RefusedError(text)

    def _give_back(self) -> None:
        if self._counted:
            self._counted = False
            self._places.closed(self)

    def _refuse(self, code: int, text: str) -> None:
        """Answer and close; only close where another answer is under way."""
        self._refused = True
        if not self._is_answering():
            body = json.dumps({"code": code, "message": text, "data": None}).encode()
            head = f"HTTP/1.1 {code} {HTTPStatus(code).phrase}\r\nContent-Type: application/json\r\n"
            self.transport.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        self.transport.close()


_TOO_LONG = (431, f"The request line and headers are above the maximum of {MAX_HEAD_BYTES:,} bytes.")

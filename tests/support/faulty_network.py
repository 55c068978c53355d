"""Real sockets that misbehave: relays that cut or stall, a listener that never answers, a server that only refuses."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK_BYTES = 16_384


class Relay:
    """Passes bytes between its clients and a server, until a budget for one direction is spent.

    Args:
        upload_bytes, download_bytes: what one connection may carry that way; None is unlimited.
        faulty_connections: so many connections have the budget, later ones are sound; None: all have it.
        stall: when the budget is spent, keep the connection open and silent instead of cutting it.
    """

    def __init__(
        self,
        server: str,
        *,
        upload_bytes: int | None = None,
        download_bytes: int | None = None,
        faulty_connections: int | None = None,
        stall: bool = False,
    ) -> None:
        self.lead_to(server)
        self._budgets = (upload_bytes, download_bytes)
        self._faulty_connections = faulty_connections
        self._stall = stall
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.connections = 0
        self.spent = threading.Event()
        """Set once a budget is spent."""

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def lead_to(self, server: str) -> None:
        """Lead new connections to another server; those there are stay as they are, as with an address that moves."""
        host, port = server.split(":")
        self._server = (host, int(port))

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._sockets:
            _close(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self.connections += 1
            sound = self._faulty_connections is not None and self.connections > self._faulty_connections
            upload, download = (None, None) if sound else self._budgets
            self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server, upload), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, download), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, budget: int | None) -> None:
        try:
            while data := source.recv(_CHUNK_BYTES):
                if budget is not None:
                    data = data[:budget]
                    budget -= len(data)
                target.sendall(data)
                if budget == 0:
                    self.spent.set()
                    break
        except OSError:
            pass
        if not (budget == 0 and self._stall):
            _close(source)
            _close(target)


@contextmanager
def silent_listener() -> Iterator[tuple[str, socket.socket]]:
    """A socket that takes connections and never answers: its endpoint and itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


@contextmanager
def refusing_server(answer: bytes) -> Iterator[str]:
    """A server that gives every request the same raw HTTP answer and hangs up: its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_all, args=(listener, answer), daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            _close(listener)


def _answer_all(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.recv(_CHUNK_BYTES)
            client.sendall(answer)


def closed_port() -> str:
    """An endpoint on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

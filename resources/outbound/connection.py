"""Connections that go to checked addresses only and end when the time for the whole transfer is over."""

import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpcore

from resources.outbound.deadline import Deadline

Addresses = Callable[[str, int, float], Sequence[str]]
"""Host, port and seconds left → the addresses that may be connected to."""
_LOOK_S = 0.5
"""While the other side is silent, so often is looked whether its answer is still wanted."""


class CheckedBackend(httpcore.NetworkBackend):
    """Makes httpcore's connections. The host is looked up and checked here, and the socket goes to that very address.

    Nothing between the check and the connection can look the name up again (DNS rebinding), while the HTTP and TLS
    layers above still see the name: they send it as Host and SNI, and check the certificate against it.
    """

    def __init__(self, addresses: Addresses, deadline: Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that takes the connection; the caller's timeout is the deadline."""
        addresses = self._addresses(host, port, self._deadline.left_s())
        for number, address in enumerate(addresses, start=1):
            try:
                share_s = self._deadline.left_s() / (len(addresses) - number + 1)
                return TimedStream(socket.create_connection((address, port), share_s), self._deadline)
            except OSError:
                if number == len(addresses):
                    raise
        raise AssertionError("no address")


class TimedStream(httpcore.NetworkStream):
    """A socket on which no read or write outlasts the deadline, however often the other side shows a sign of life."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._socket = sock
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Up to `max_bytes`; empty at the end."""
        while True:
            left_s = self._deadline.left_s()
            self._socket.settimeout(min(left_s, _LOOK_S))
            try:
                return self._socket.recv(max_bytes)
            except TimeoutError:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send everything. httpcore takes a WriteError as a sign to look for an early answer."""
        self._socket.settimeout(self._deadline.left_s())
        try:
            self._socket.sendall(buffer)
        except TimeoutError:
            raise
        except OSError as exc:
            raise httpcore.WriteError(str(exc)) from exc

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Shake hands; the certificate must be good for `server_hostname`."""
        try:
            self._socket.settimeout(self._deadline.left_s())
            return TimedStream(ssl_context.wrap_socket(self._socket, server_hostname=server_hostname), self._deadline)
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Nothing: connections are used once."""
        return

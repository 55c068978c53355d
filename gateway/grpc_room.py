"""Room for new gRPC connections: gRPC itself closes none for another, and 200 that say nothing kept everybody out."""

import os
import socket
import stat
import struct
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.connections import client_of

LOOK_S = 0.5
ROOM_SHARE = 8
"""One place in so many is kept free."""
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_FILES = Path("/proc/self/fd")
_TCP_INFO = struct.Struct("8x12I")
"""The beginning of Linux' `struct tcp_info`; its last number here is `tcpi_last_data_recv`, ms."""


class GrpcRoom:
    """Closes connections of a port while nearly all places are taken: of the client that has most, the most silent one.

    A client whose connection was closed opens another with its next call. On Linux only.

    Args:
        port: where gRPC listens.
        most: connections at once.
    """

    def __init__(self, port: int, most: int) -> None:
        self._port, self._most = port, most - most // ROOM_SHARE
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="grpc-room", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while sys.platform == "linux" and not self._stop.wait(LOOK_S):
            with suppress(OSError):  # no file can be opened now
                self._look()

    def _look(self) -> None:
        files = [int(file.name) for file in _FILES.iterdir()]
        if len(files) <= self._most:
            return
        silent_ms: dict[tuple[int, Any], int] = {}
        for file in files:
            if copy := self._copy(file):
                with copy, suppress(OSError):
                    info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
                    silent_ms[file, copy.getpeername()] = _TCP_INFO.unpack(info)[-1]
        clients = Counter(client_of(peer[0]) for _, peer in silent_ms)
        for _ in range(len(silent_ms) - self._most):
            file, peer = max(silent_ms, key=lambda one: (clients[client_of(one[1][0])], silent_ms[one]))
            del silent_ms[file, peer]
            clients[client_of(peer[0])] -= 1
            if copy := self._copy(file):
                with copy, suppress(OSError):
                    if copy.getpeername() == peer:
                        copy.shutdown(socket.SHUT_RDWR)

    def _copy(self, file: int) -> socket.socket | None:
        """A descriptor of our own for an open file, whose number may be used anew; None if it is not of the port."""
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(file).st_mode):
                return None
            copy = os.dup(file)
            try:
                found = socket.socket(fileno=copy)
            except OSError:
                os.close(copy)
                return None
            if found.family in _INTERNET and found.getsockname()[1] == self._port:
                return found
            found.close()
        return None

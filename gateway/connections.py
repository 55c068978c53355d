"""How many HTTP connections are open, in all and from one client, and which one makes way for a new one."""

import logging
import resource
from collections import Counter
from ipaddress import IPv6Address, ip_address
from typing import Protocol

logger = logging.getLogger(__name__)

OTHER_DESCRIPTORS = 96
"""Files and sockets that a gateway needs beside those of its clients: Redis, the store, the pages' files, logs."""
FEWEST = 8
"""Connections of either kind that there is room for in any case."""


class Connection(Protocol):
    """A connection as it is counted here."""

    peer: str

    def make_way(self) -> None:
        """Close, although the client has done nothing wrong."""


class Connections:
    """The open connections of one event loop.

    A connection waits while its client has yet to send a request, or the rest of one. Where there is no room, the one
    that waits longest makes way, of the same client if that has too many: so whoever holds connections open, and sends
    nothing, or never all of it, keeps nobody out. One whose request is being answered never makes way.
    """

    def __init__(self, most: int, most_per_client: int) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._clients: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}

    def __len__(self) -> int:
        return self._clients.total()

    def opened(self, connection: Connection) -> bool:
        """Count a connection, which waits for its client; False if there is no room and none makes way."""
        if self._clients[connection.peer] >= self._most_per_client and not self._make_room(connection.peer):
            return False
        if len(self) >= self._most and not self._make_room():
            return False
        self._clients[connection.peer] += 1
        self._waiting[connection] = None
        return True

    def closed(self, connection: Connection) -> None:
        """Count it no more."""
        self._waiting.pop(connection, None)
        self._clients[connection.peer] -= 1
        if not self._clients[connection.peer]:
            del self._clients[connection.peer]

    def waits(self, connection: Connection) -> None:
        """From now on its client is waited for."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """It has a whole request, which is being answered."""
        self._waiting.pop(connection, None)

    def _make_room(self, peer: str = "") -> bool:
        longest = next((one for one in self._waiting if peer in ("", one.peer)), None)
        if longest is None:
            return False
        longest.make_way()
        return True


def client_of(address: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which one customer has."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is None:
        return ip.exploded[:19]
    return address


def room_for_clients(http: int, grpc: int) -> tuple[int, int]:
    """So many connections as wanted, or as many as the files that this process may have open leave room for.

    The limit of open files is raised if that is not enough, as far as the system lets it be.
    """
    wanted = http + grpc + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return http, grpc
    room = max(2 * FEWEST, soft - OTHER_DESCRIPTORS)
    grpc_room = max(FEWEST, room * grpc // (http + grpc))
    logger.warning("%d files may be open: room for %d HTTP and %d gRPC connections", soft, room - grpc_room, grpc_room)
    return room - grpc_room, grpc_room

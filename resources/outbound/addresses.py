"""Which addresses are on the public internet, and the lookup of a host's addresses."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Thread

from resources.outbound.errors import UrlRefusedError

Resolver = Callable[[str, int], Sequence[str]]
"""The addresses of a host (ASCII name or literal address), the preferred first; OSError if there are none."""

_MOST_ADDRESSES = 4
_GLOBAL_UNICAST = ip_network("2000::/3")
_REFUSED = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's virtual host: public by number, but answers from inside
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "2001::/23",  # Teredo, ORCHID and other protocol assignments, RFC 2928
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, which carries an IPv4 address, RFC 3056
        "3fff::/20",  # documentation, RFC 9637
    )
)


def is_public(address: str) -> bool:
    """Whether a literal IPv4 or IPv6 address is one that anybody on the internet may use and reach.

    IPv6 must be global unicast (2000::/3). That leaves out loopback, link-local, unique local and multicast, and the
    forms that carry an IPv4 address: mapped (::ffff:0:0/96), compatible and NAT64 (64:ff9b::/96).
    """
    ip = ip_address(address)
    if any(ip in network for network in _REFUSED):
        return False
    if isinstance(ip, IPv6Address):
        return ip in _GLOBAL_UNICAST and ip.is_global
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` spells out, or None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def system_addresses(host: str, port: int) -> list[str]:
    """The addresses that this machine's resolver gives for a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, resolve: Resolver, *, private_allowed: bool, timeout_s: float) -> list[str]:
    """The first few addresses of `host`, all of them public unless private ones are allowed.

    A name that resolves to public and to other addresses is refused: which one is used must not be a matter of luck.

    Raises:
        UrlRefusedError: if one is not public. The text does not tell which: that would map the network inside.
        OSError: if the name does not resolve; TimeoutError if it takes longer than `timeout_s`.
    """
    addresses = _within(timeout_s, lambda: resolve(host, port))
    if not addresses:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    if not private_allowed and not all(is_public(address) for address in addresses):
        raise UrlRefusedError(not_public(host))
    return list(addresses[:_MOST_ADDRESSES])


def not_public(host: str) -> str:
    """The text of the refusal of a host that is not on the public internet."""
    return (
        f"host '{host[:253]}' is not on the public internet. Use a public address, or let the operator add the host to "
        "gateway.allow_private_hosts."
    )


def _within(timeout_s: float, call: Callable[[], Sequence[str]]) -> Sequence[str]:
    """What `call` returns; the system's resolver knows no time limit, so that it gets a thread of its own."""
    future: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # the caller raises it
            future.set_exception(exc)

    Thread(target=run, name="resolve", daemon=True).start()
    return future.result(timeout=timeout_s)

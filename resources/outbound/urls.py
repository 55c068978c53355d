"""The rules a URL from outside must keep; those that can be checked without asking the network."""

import re
from collections.abc import Iterable

import httpx

from foundation.problems import shown
from resources.outbound.addresses import is_public, literal_address, not_public
from resources.outbound.errors import UrlRefusedError

MAX_URL_LENGTH = 4_096
PUBLIC_PORTS = frozenset((80, 443, *range(8000, 9000)))
"""Ports that HTTP servers use. Others are refused, so that nobody talks to mail servers or databases through us."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".home.arpa")
_UNSAFE = re.compile(r"[\s\\\x00-\x20\x7f-\x9f]")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMERIC_END = re.compile(r"(?:\d+|0x[0-9a-f]*)")


class UrlRules:
    """What URLs may name.

    Args:
        allowed_hosts: hosts, or host:port, that are allowed although they are private, and on any port if none is
            given. They are compared with the host as the URL spells it, not with the address behind it.
    """

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    def check(self, url: str) -> httpx.URL:
        """The parsed URL: http or https, no user name, no literal private address, a port of PUBLIC_PORTS.

        Nothing is asked of the network: what a name leads to is checked when it is connected to.

        Raises:
            UrlRefusedError: saying which rule is broken.
        """
        parsed = _parsed(url)
        if parsed.scheme not in _DEFAULT_PORTS:
            raise UrlRefusedError(f"scheme {shown(parsed.scheme)}, but a URL must be http:// or https://.")
        if not parsed.raw_host:
            raise UrlRefusedError("the URL names no host.")
        if not _NAME.fullmatch(host_of(parsed)) and literal_address(host_of(parsed)) is None:
            raise UrlRefusedError(f"host {shown(host_of(parsed))} is neither a name nor an address.")
        if parsed.userinfo:
            raise UrlRefusedError("the URL holds a user name or password. Leave them out.")
        if not self.allows_private(host_of(parsed), port_of(parsed)):
            _check_public(parsed)
        return parsed

    def allows_private(self, host: str, port: int) -> bool:
        """Whether the operator lets URLs name this host though it may be private."""
        literal = f"[{host}]" if ":" in host else host
        return not self._allowed.isdisjoint((host, literal, f"{literal}:{port}"))


def host_of(url: httpx.URL) -> str:
    """The host as it is looked up: ASCII, lower case, without the dot that may end it, brackets or port."""
    return url.raw_host.decode("ascii").lower().removesuffix(".")


def port_of(url: httpx.URL) -> int:
    """The port the URL names, or its scheme's."""
    return _DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def origin_of(url: httpx.URL) -> str:
    """Scheme, host and port: what of a URL may stand in a text."""
    return f"{url.scheme}://{url.netloc.decode('ascii')[:300]}"


def _parsed(url: str) -> httpx.URL:
    if len(url) > MAX_URL_LENGTH:
        raise UrlRefusedError(f"{len(url):,} characters are above the maximum of {MAX_URL_LENGTH:,} for a URL.")
    if _UNSAFE.search(url):
        raise UrlRefusedError("the URL holds a space, a backslash or a control character. Write it as %XX.")
    try:
        parsed = httpx.URL(url)
        _ = parsed.host  # decodes an international name, and raises for one that is none
        return parsed
    except (httpx.InvalidURL, ValueError) as exc:
        raise UrlRefusedError(f"it is not a URL: {str(exc)[:120].rstrip('.')}.") from exc


def _check_public(url: httpx.URL) -> None:
    host = host_of(url)
    address = literal_address(host)
    if address is not None and not is_public(host):
        raise UrlRefusedError(not_public(host))
    if address is None and _is_local_name(host):
        raise UrlRefusedError(not_public(host))
    if port_of(url) not in PUBLIC_PORTS:
        raise UrlRefusedError(
            f"port {port_of(url)} of host '{host[:253]}' is not one of 80, 443 and 8000 to 8999. Use one of these, or "
            "let the operator add host:port to gateway.allow_private_hosts."
        )


def _is_local_name(host: str) -> bool:
    """Names of this machine or network, and odd spellings of IPv4 addresses that resolvers accept (127.1, 0x7f.1)."""
    return f".{host}".endswith(_LOCAL_NAMES) or _NUMERIC_END.fullmatch(host.rsplit(".", 1)[-1]) is not None

"""The client for URLs that others name."""

import json
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from urllib.parse import urljoin

import certifi
import httpcore
import httpx
from standardwebhooks import Webhook

from configs.settings import Settings
from models.errors import PictureError
from models.image import check_picture
from resources.outbound.addresses import Resolver, checked_addresses, system_addresses
from resources.outbound.connection import CheckedBackend
from resources.outbound.deadline import Deadline
from resources.outbound.errors import DeliveryRefusedError, TransferError, UrlRefusedError
from resources.outbound.urls import UrlRules, host_of, origin_of

MAX_REDIRECTS = 3
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_HEADERS = {"User-Agent": "ImageGenX", "Accept-Encoding": "identity", "Connection": "close"}
_LONGEST_RETRY_AFTER_S = 24 * 3600


class OutboundClient:
    """Fetches pictures from, and delivers callbacks to, servers that the client of a request names.

    A URL is http or https, without user name, on a port of `urls.PUBLIC_PORTS`. Its host is looked up for each request
    and each redirect, must have public addresses only (unless the operator allows the host), and the connection goes to
    the address that was checked. Each transfer has one time limit from the first lookup to the last byte, and a size
    limit while it streams. There are no proxies, cookies, content encodings, and no connection serves twice.

    Args:
        settings: of gateway, pictures and callbacks.
        resolve: looks up the addresses of a host.
    """

    def __init__(self, settings: Settings, resolve: Resolver = system_addresses) -> None:
        self._settings = settings
        self._rules = UrlRules(settings.gateway.allow_private_hosts)
        self._resolve = resolve

    def fetch_picture(self, url: str, deadline: Deadline | None = None) -> bytes:
        """The file of an input picture: PNG, JPEG, WebP, BMP or GIF by its content, whatever the server calls it.

        Args:
            deadline: shared with other pictures; by default `gateway.fetch_timeout_s` for this one.
        Raises:
            UrlRefusedError: if the URL, or one it redirects to, is not allowed.
            TransferError: if the server cannot be reached, fails, is too slow or sends too much.
            NotWantedError: as of the deadline.
            PictureError: if it is no such picture, or has too many pixels; nothing is decoded to find out.
        """
        gateway = self._settings.gateway
        data = self._get(url, deadline or Deadline(gateway.fetch_timeout_s), gateway.max_upload_bytes)
        try:
            check_picture(data, self._settings.pictures.max_input_pixels)
        except PictureError as exc:
            raise PictureError(f"{origin_of(httpx.URL(url))}: {exc}") from exc
        return data

    def post_signed(self, url: str, event_id: str, payload: Mapping[str, object], secret: str) -> None:
        """Deliver a callback, signed by the Standard Webhooks scheme. Redirects are not followed.

        Args:
            event_id: the same for every delivery of one event.
            secret: `whsec_…`, shared with the receiver.
        Raises:
            UrlRefusedError: if the URL is not allowed.
            DeliveryRefusedError: if the receiver answers anything but 200 to 299.
            TransferError: if it cannot be reached or does not answer in time.
        """
        body = body_of(payload)
        headers = signed_headers(event_id, body, secret)
        address = self._rules.check(url)
        timeout_s = self._settings.callbacks.timeout_s
        with _explained(address, timeout_s), self._pool(address, Deadline(timeout_s)) as pool:  # noqa: SIM117
            with pool.stream("POST", _core(address), headers=_headers(headers), content=body) as answer:
                if not 200 <= answer.status < 300:
                    raise DeliveryRefusedError(origin_of(address), answer.status, _retry_after_s(answer))

    def _get(self, url: str, deadline: Deadline, max_bytes: int) -> bytes:
        address = self._rules.check(url)
        for _ in range(MAX_REDIRECTS + 1):
            with _explained(address, deadline.timeout_s), self._pool(address, deadline) as pool:  # noqa: SIM117
                with pool.stream("GET", _core(address), headers=_headers({"Accept": "image/*"})) as answer:
                    if answer.status not in _REDIRECTS:
                        return _body(address, answer, max_bytes)
                    target = _header(answer, b"location")
            address = self._redirected(address, target)
        raise TransferError(f"{origin_of(httpx.URL(url))} redirects more than {MAX_REDIRECTS} times.")

    def _redirected(self, address: httpx.URL, target: str) -> httpx.URL:
        if not target:
            raise TransferError(f"{origin_of(address)} redirects to nowhere.")
        try:
            return self._rules.check(urljoin(str(address), target))
        except ValueError as exc:
            raise UrlRefusedError(f"{origin_of(address)} redirects to what is not a URL.") from exc
        except UrlRefusedError as exc:
            raise UrlRefusedError(f"{origin_of(address)} redirects to a URL that is not allowed: {exc}") from exc

    def _pool(self, address: httpx.URL, deadline: Deadline) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=self._ssl_context if address.scheme == "https" else None,
            max_keepalive_connections=0,
            network_backend=CheckedBackend(self._addresses, deadline),
        )

    def _addresses(self, host: str, port: int, timeout_s: float) -> list[str]:
        name = host.lower().removesuffix(".")
        allowed = self._rules.allows_private(name, port)
        return checked_addresses(name, port, self._resolve, private_allowed=allowed, timeout_s=timeout_s)

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())


def _core(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _headers(more: Mapping[str, str]) -> list[tuple[bytes | str, bytes | str]]:
    return [*_HEADERS.items(), *more.items()]


def _header(answer: httpcore.Response, name: bytes) -> str:
    return next((value.decode("utf-8", "replace") for key, value in answer.headers if key.lower() == name), "")


def _body(url: httpx.URL, answer: httpcore.Response, max_bytes: int) -> bytes:
    if answer.status != 200:
        raise TransferError(f"{origin_of(url)} answered HTTP {answer.status}, not a picture.")
    if (encoding := _header(answer, b"content-encoding").strip().lower()) not in ("", "identity"):
        raise TransferError(f"{origin_of(url)} sends '{encoding[:40]}'-encoded data, though pictures go as they are.")
    body = bytearray()
    for chunk in answer.iter_stream():
        body += chunk
        if len(body) > max_bytes:
            raise TransferError(f"{origin_of(url)} sends more than the maximum of {max_bytes:,} bytes for a picture.")
    return bytes(body)


def _retry_after_s(answer: httpcore.Response) -> float | None:
    """The seconds of a Retry-After header; its other form, a date, is not worth a parser."""
    text = _header(answer, b"retry-after").strip()
    return min(float(text), _LONGEST_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None


@contextmanager
def _explained(url: httpx.URL, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeError, httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise TransferError(f"{origin_of(url)}: {_reason(exc, url, timeout_s)}.") from exc


def _reason(exc: Exception, url: httpx.URL, timeout_s: float) -> str:
    match exc:
        case TimeoutError():
            return f"not finished after {timeout_s:g} s"
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not good ({exc.verify_message.rstrip('.')})"
        case ssl.SSLError():
            return f"TLS failed ({exc.reason or 'the handshake was cut off'})"
        case socket.gaierror() | UnicodeError():
            return f"the name '{host_of(url)}' does not resolve"
        case httpcore.RemoteProtocolError():
            return "it cut the answer off or does not speak HTTP"
        case OSError():
            return f"no connection ({exc.strerror or type(exc).__name__})"
    return "the connection failed"


def body_of(payload: Mapping[str, object]) -> bytes:
    """The payload as JSON, in the bytes that are signed and sent."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def signed_headers(event_id: str, body: bytes, secret: str) -> dict[str, str]:
    """The headers that let a receiver check where `body` comes from, that it is fresh, and whether it came before.

    Those of the Standard Webhooks specification (https://www.standardwebhooks.com).

    Args:
        event_id: the same for every delivery of one event.
        secret: `whsec_…`, shared with the receiver.
    """
    now = datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, now, body.decode()),
    }

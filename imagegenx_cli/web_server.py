"""Dagster's web server behind a guard: `python -m imagegenx_cli.web_server`, with the options of `dagster-webserver`.

Dagster's own server answers under any host name, runs mutations that stand in the address of a picture, and takes
commands from pages of other sites. A person's browser reaches it, so whoever gets that browser to open a page or to
show a picture would launch and delete runs. See `Guard` for what is refused.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from dagster_webserver.cli import dagster_webserver
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.settings import Settings, load_settings

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_GRAPHQL_TYPES = ("application/json", "application/graphql")
"""Bodies that a browser sends to another site only after asking, which Dagster's server never allows."""


class Guard:
    """ASGI middleware. Lets through what a person's browser asks from these very pages, and programs without one.

    | refused | against |
    |---|---|
    | 403 a Host header that is not of `hosts` | a foreign name that was made to point here (DNS rebinding) |
    | 403 an Origin other than the Host, also of a WebSocket | pages of other sites, of other ports of this machine |
    | 403 Sec-Fetch-Site of another site, save for following a link | pictures, scripts and frames of other pages |
    | 405 GraphQL in an address | a picture's address in a text that these pages show |
    | 415 GraphQL as a form | a form of another page, where the browser sends neither header |
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await _refuse(scope, receive, send, *refusal)
        else:
            await self._app(scope, receive, _unframed(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason, if the call is refused."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or _name(hosts[0]) not in self._hosts:
            return 403, "This host name is not one of web_server.allowed_hosts."
        if any(_place(origin) != hosts[0].lower() for origin in origins):
            return 403, "Pages of other sites may not call this server."
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _follows_a_link(scope, headers):
            return 403, "Pages of other sites may not show or call this server."
        return _graphql_refusal(scope, headers) if scope["type"] == "http" else None


def _place(origin: str) -> str:
    """Host and port of an Origin header, in lower case; "" if it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """The name in a Host header, in lower case, without port and final dot."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower().removesuffix(".")


def _follows_a_link(scope: Scope, headers: Headers) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _graphql_refusal(scope: Scope, headers: Headers) -> tuple[int, str] | None:
    if scope["path"].rstrip("/").rpartition("/")[2] != "graphql":
        return None
    if scope["method"] != "POST" and scope["query_string"]:
        return 405, "GraphQL is taken by POST only."
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] == "POST" and kind not in _GRAPHQL_TYPES:
        return 415, f"GraphQL is taken as {' or '.join(_GRAPHQL_TYPES)}, not as '{kind[:80]}'."
    return None


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    headers = {"Allow": "POST"} if status == 405 else {}
    await PlainTextResponse(f"{reason}\n", status, headers)(scope, receive, send)


def _unframed(send: Send) -> Send:
    """`send`, with the header that keeps these pages out of frames of other sites."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["X-Frame-Options"] = "SAMEORIGIN"
        await send(message)

    return sending


def allowed_hosts(settings: Settings) -> tuple[str, ...]:
    """The names of this machine for itself, of `alerts.ui_url`, and those that the operator gives."""
    linked = urlsplit(settings.alerts.ui_url).netloc.rpartition("@")[2]
    return (*LOOPBACK_NAMES, *filter(None, [_name(linked)]), *settings.web_server.allowed_hosts)


def main() -> None:
    """Serve as `dagster-webserver` does, whose options these are."""
    guard, inner = Middleware(Guard, hosts=allowed_hosts(load_settings())), DagsterWebserver.build_middleware
    DagsterWebserver.build_middleware = lambda self: [guard, *inner(self)]  # type: ignore[method-assign]
    dagster_webserver(prog_name="imagegenx_cli.web_server", auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    main()

"""The page at `/`, the documentation page and health: what needs no API key."""

import asyncio
import hmac
from contextlib import suppress
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from configs.settings import Settings
from gateway import documentation as docs
from gateway.answers import answer
from gateway.caller import caller_address
from gateway.errors import ServiceError, service_errors
from gateway.http_face import HttpFace
from resources.accounts import ID_CHARACTERS, USER_SCOPES, ExpiredKeyError, Scope, UnknownKeyError
from resources.audit import AuditEvent
from resources.queue import QueueError

PAGE_FOLDER = Path(__file__).parent / "page"
LOCAL_USER = "local"
"""Owner of the pictures made on the page with the start-up token."""

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".woff2": "font/woff2",
}
_FONT_AGE = "public, max-age=604800"


class PageCalls:
    """One method per call."""

    def __init__(self, face: HttpFace) -> None:
        self._face = face
        settings = face.service.settings
        self.headers = _page_headers(settings)
        self._files = {file.name: file.read_bytes() for file in PAGE_FOLDER.iterdir() if file.suffix in _KINDS}
        self._key = ""
        self._token = settings.gateway.page_token.get_secret_value()

    async def page(self) -> Response:
        """The page where a person makes pictures."""
        return self._file("index.html")

    async def docs(self) -> Response:
        """The documentation of all calls."""
        return self._file("docs.html")

    async def part(self, name: str) -> Response:
        """A file of the page."""
        return self._file(name)

    async def local_key(self, request: Request) -> Response:
        """A key for the page, for who has the token that this gateway was started with. No address proves anything."""
        given = request.headers.get("x-page-token", "")
        if not self._token or not hmac.compare_digest(given.encode(), self._token.encode()):
            if given:
                await asyncio.to_thread(self._face.service.note_refusal, "page token")
            raise ServiceError(403, "Open the page by the address that `imagegenx dev` prints, or enter an API key.")
        key = await self._face.call(self._made_key)
        return answer(200, "ok", {"key": key}, {"Cache-Control": "no-store"})

    async def health(self) -> Response:
        """The state of queue, store and workers; 503 while no request can be taken."""
        health = await asyncio.to_thread(self._face.service.health)
        data = {
            "status": health.status,
            "service": "imagegenx",
            "version": health.version,
            "timestamp": health.timestamp_s,
            **{"queue": health.queue, "store": health.store, "workers": health.workers},
        }
        return answer(health.code, health.status, data, {"Cache-Control": "no-store"})

    async def alive(self) -> Response:
        """200 as long as this process answers, whatever it depends on: restarting it would not bring that back."""
        return answer(200, "alive", {"status": "alive"}, {"Cache-Control": "no-store"})

    async def ready(self) -> Response:
        """Whether requests are to be sent here: 200, or 503 while none can be taken."""
        code = (await asyncio.to_thread(self._face.service.health)).code
        status = "ready" if code == 200 else "not ready"
        return answer(code, status, {"status": status}, {"Cache-Control": "no-store"})

    def release(self) -> None:
        """Revoke the key that was handed out; if Redis is away, it expires unused."""
        if self._key:
            with suppress(QueueError):
                self._face.service.accounts.revoke(self._key)
                self._note(AuditEvent.KEY_REVOKED, "page")
            self._key = ""

    @service_errors()
    def _made_key(self) -> str:
        accounts = self._face.service.accounts
        with suppress(UnknownKeyError, ExpiredKeyError):
            accounts.authenticate(self._key)
            return self._key
        self._key = accounts.create(LOCAL_USER, role="paid", qps=1000, scopes=(*USER_SCOPES, Scope.REVIEW))
        self._note(AuditEvent.KEY_CREATED, f"page at {caller_address()}")
        return self._key

    def _note(self, event: AuditEvent, who: str) -> None:
        self._face.service.audit.record(event, who, user_id=LOCAL_USER, key=self._key[:ID_CHARACTERS])

    def _file(self, name: str) -> Response:
        if name not in self._files:
            raise ServiceError(404, "There is no such file of the page.")
        age = {"Cache-Control": _FONT_AGE} if name.endswith(".woff2") else {}
        return Response(self._files[name], headers=self.headers | age, media_type=_KINDS[Path(name).suffix])


def page_routes(calls: PageCalls) -> APIRouter:
    """The routes of these calls."""
    router = APIRouter()
    add = router.add_api_route
    add("/", calls.page, methods=["GET"], include_in_schema=False)
    add("/docs", calls.docs, methods=["GET"], include_in_schema=False)
    add("/page/key", calls.local_key, methods=["POST"], include_in_schema=False)
    add("/page/{name}", calls.part, methods=["GET"], include_in_schema=False)
    add("/health", calls.health, methods=["GET"], tags=["operation"], **docs.described(docs.HealthState))
    add("/livez", calls.alive, methods=["GET"], tags=["operation"], **docs.described(docs.ProbeState))
    add("/readyz", calls.ready, methods=["GET"], tags=["operation"], **docs.described(docs.ProbeState))
    operation = {"/health": calls.health, "/livez": calls.alive, "/readyz": calls.ready}
    for path, call in {"/": calls.page, "/docs": calls.docs, **operation}.items():
        add(path, call, methods=["HEAD"], include_in_schema=False)
    return router


def _page_headers(settings: Settings) -> dict[str, str]:
    """Headers that let the page do what it needs, and nothing else."""
    store = settings.store
    pictures = f" {'https' if store.secure else 'http'}://{store.endpoint}" if store.kind == "s3" else ""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": f"'self' data: blob:{pictures}",
        "font-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }

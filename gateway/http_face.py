"""What all HTTP calls share: the service behind them, threads to call it on, and the reading of requests."""

import json
import re
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.datastructures import UploadFile
from starlette.requests import Request

from configs.problems import shown
from gateway.answers import Answers
from gateway.changes import TaskChanges
from gateway.errors import ServiceError, bad_field
from gateway.service import GatewayService
from resources.accounts import Account

P = ParamSpec("P")
T = TypeVar("T")

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}", re.ASCII)


class HttpFace:
    """The service as the HTTP calls use it: from an event loop, on a few threads."""

    def __init__(self, service: GatewayService, changes: TaskChanges) -> None:
        self.service = service
        self.changes = changes
        self._threads = CapacityLimiter(service.settings.gateway.threads)
        self._store_threads = CapacityLimiter(service.settings.gateway.threads)

    async def call(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a blocking call of the service on one of the threads."""
        return await anyio.to_thread.run_sync(lambda: function(*args, **options), limiter=self._threads)

    async def call_store(self, function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """`call`, for what asks the object store: one that does not answer holds up no other calls."""
        return await anyio.to_thread.run_sync(lambda: function(*args, **options), limiter=self._store_threads)

    async def account(self, request: Request) -> Account:
        """The caller's account, counted against its QPS."""
        return await self.call(self.service.authenticate, api_key(request))

    def answers(self, request: Request) -> Answers:
        """Answers with URLs that this caller can reach."""
        return Answers(self.service.links, self.base_url(request))

    def base_url(self, request: Request) -> str:
        """The configured public URL, or the address that the caller used."""
        host = request.headers.get("host", "")
        if self.service.settings.gateway.public_url or not _HOST.fullmatch(host):
            return ""
        return f"{request.url.scheme}://{host}"


def api_key(request: Request) -> str:
    """The key in `X-API-Key`, or the one an OpenAI client sends as a bearer token."""
    given = request.headers.get("x-api-key", "")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return given or (token.strip() if scheme.lower() == "bearer" else "")


def is_multipart(request: Request) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def json_object(body: bytes | str, field: str = "") -> Mapping[str, object]:
    """The object in a JSON body: 400 if it is not JSON, 422 if it is something else than an object."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as exc:
        reason = "nested too deeply" if isinstance(exc, RecursionError) else str(exc)
        raise ServiceError(400, f"{field or 'The body'} is not JSON: {reason[:200]}.") from exc
    if not isinstance(data, dict):
        raise bad_field(field, f"{shown(data)} is not an object with fields")
    return data


async def read_form(request: Request, files: int) -> tuple[dict[str, str], dict[str, bytes]]:
    """The text fields and the files of a form, each by its name; 422 for a name given twice."""
    limit = request.app.state.face.service.settings.gateway.max_body_bytes
    texts: dict[str, str] = {}
    pictures: dict[str, bytes] = {}
    async with request.form(max_files=files, max_fields=50, max_part_size=limit) as form:
        for name, value in form.multi_items():
            if name in texts or name in pictures:
                raise bad_field(name[:80], "given more than once")
            if isinstance(value, UploadFile):
                pictures[name] = await value.read()
            else:
                texts[name] = value
    return texts, pictures

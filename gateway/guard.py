"""What surrounds every HTTP call: the limit of its body, its time in the metrics, its id, one line in the log."""

import logging
import random
import time
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from configs.gateway_settings import GatewaySettings
from foundation.logs import add_log_ids, log_ids
from gateway.caller import calling_from, given_key
from gateway.errors import ServiceError
from gateway.turns import Turns
from resources.queue import TASK_ID

logger = logging.getLogger(__name__)

FORM_OVERHEAD_BYTES = 100_000
"""Boundaries and headers of the parts of a form."""
MAX_FILES = 3


def largest_form_bytes(settings: GatewaySettings) -> int:
    """The limit of a form: its pictures, its fields, and what is around them."""
    return MAX_FILES * settings.max_upload_bytes + settings.max_body_bytes + FORM_OVERHEAD_BYTES


Observe = Callable[[str, str, int, float], None]
"""Told of every call: method, route, status, seconds."""
_PATH_IDS = {"task_id": "task_id", "batch_task_id": "batch_id"}


async def about_path(request: Request) -> None:
    """`about` with the ids in the path; the dependency of every route."""
    about(**{name: request.path_params[given] for given, name in _PATH_IDS.items() if given in request.path_params})


def about(**ids: str) -> None:
    """Let every line that this call logs from now on carry these ids; what does not look like one is left out."""
    add_log_ids(**{name: id for name, id in ids.items() if TASK_ID.fullmatch(id)})


class Guard:
    """ASGI middleware. The log gets method, path and status; never a query, a header or a body, which hold secrets.

    Each call has a random id, which its log lines carry and its answer names in the header `X-Request-ID`. Only the
    paths that take forms take bodies as large as these may be. Calls begin in turn by user.

    Args:
        whose: the user of an API key.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: GatewaySettings,
        form_paths: Collection[str],
        observe: Observe,
        whose: Callable[[str], str],
    ) -> None:
        self._app = app
        self._whose, self._turns = whose, Turns()
        self._max_json_bytes = settings.max_body_bytes
        self._max_form_bytes = largest_form_bytes(settings)
        self._form_paths = form_paths
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, watched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, request_id = time.perf_counter(), 500, f"{random.getrandbits(64):016x}"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        address, key = (scope.get("client") or ("",))[0], given_key(Headers(scope=scope))
        with log_ids(request_id=request_id), calling_from(address, key):
            try:
                await self._turns.begin(self._whose(key))
                await self._app(scope, self._limited(scope, receive), noting)
            finally:
                self._note(scope, status, time.perf_counter() - began)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, which raises once the body is too large, however it is sent."""
        limit, received = self._limit(scope), 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise ServiceError(413, f"The body is above the maximum of {limit:,} bytes.")
            return message

        return counted

    def _limit(self, scope: Scope) -> int:
        kind = dict(scope["headers"]).get(b"content-type", b"")
        is_form = scope["path"] in self._form_paths and kind.startswith(b"multipart/form-data")
        return self._max_form_bytes if is_form else self._max_json_bytes

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        self._observe(scope["method"], route, status, seconds)
        path = scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace")[:200]
        logger.info("%s %s %d %.1f ms", scope["method"], path, status, 1000 * seconds)

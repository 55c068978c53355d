"""The HTTP face: the FastAPI app over the service."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache, partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from foundation.errors import ImageGenXError
from foundation.problems import Problem
from gateway.answers import refusal
from gateway.changes import TaskChanges
from gateway.direct_calls import DirectCalls
from gateway.documentation import documented
from gateway.errors import ServiceError, service_error
from gateway.galleries.calls import gallery_routes
from gateway.guard import Guard
from gateway.http_events import come_back, event_routes, is_by_address
from gateway.http_face import HttpFace
from gateway.http_images import GENERATE, image_routes
from gateway.http_openai import EDITS, PREFIX, openai_refusal, openai_routes
from gateway.http_page import PageCalls, page_routes
from gateway.http_usage import usage_routes
from gateway.http_verify import VERIFY, verify_routes
from gateway.metrics import GatewayMetrics
from gateway.service import GatewayService
from models.errors import InvalidRequestError

logger = logging.getLogger(__name__)

CLIENT_GONE = 499
"""The status of calls whose client hung up, in the log and in the metrics."""

_HEADERS_FROM_ELSEWHERE = ("X-API-Key", "Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID")
_HEADERS_FOR_ELSEWHERE = ("Retry-After", "RateLimit", "RateLimit-Policy", "Preference-Applied", "X-Request-ID", "ETag")

_WORDS = {
    404: "There is nothing at this path. /docs lists every call.",
    405: "This path does not take this method. The header Allow says what it takes; /docs lists every call.",
}
_DESCRIPTION = "Prompts to finished, stored, traceable pictures. Every answer is `{code, message, data}`."


class _App(FastAPI):
    """FastAPI behind what surrounds every call, which some of them never pass."""

    surrounding: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a call; start and end are FastAPI's."""
        scope["app"] = self
        serve = self.surrounding if scope["type"] == "http" else super().__call__
        await serve(scope, receive, send)


def build_app(service: GatewayService) -> FastAPI:
    """The app: all routes over one service."""
    changes = TaskChanges(service.queue)
    metrics = GatewayMetrics(service.queue, service.health)
    changes.listeners.append(metrics.heard)
    face = HttpFace(service, changes)
    page = PageCalls(face)
    app = _App(
        title="ImageGenX",
        version=version("imagegenx"),
        description=_DESCRIPTION,
        openapi_url=None,  # `_document`, which is written once
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(changes, metrics, page, face),
        exception_handlers=_HANDLERS,
    )
    app.state.face, app.state.metrics = face, metrics
    galleries = gallery_routes(face, page.headers)
    apis = (image_routes(face), event_routes(face), verify_routes(face), openai_routes(face), usage_routes(face))
    for router in (*apis, galleries, page_routes(page)):
        app.router.routes += router.routes  # an included router would look for each route twice
    app.surrounding = _surrounded(app, service, metrics)
    app.openapi = lambda: documented(app)  # type: ignore[method-assign]
    app.add_route("/openapi.json", _document(app), include_in_schema=False)
    return app


def _document(app: FastAPI) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Whoever asks for it costs no more than for any other file."""
    written = cache(lambda: json.dumps(app.openapi()).encode())

    async def document(request: Request) -> Response:
        return Response(written(), media_type="application/json")

    return document


def _surrounded(app: FastAPI, service: GatewayService, metrics: GatewayMetrics) -> ASGIApp:
    gateway = service.settings.gateway
    calls = DirectCalls(partial(FastAPI.__call__, app), app.routes, _answer_to)
    guarded = Guard(calls, gateway, (GENERATE, EDITS, VERIFY), metrics.observe_call, service.whose)
    if not gateway.cors_origins:
        return guarded
    return CORSMiddleware(
        guarded,
        allow_origins=gateway.cors_origins,
        allow_methods=("GET", "POST", "DELETE"),
        allow_headers=_HEADERS_FROM_ELSEWHERE,
        expose_headers=_HEADERS_FOR_ELSEWHERE,
    )


def _lifespan(
    changes: TaskChanges, metrics: GatewayMetrics, page: PageCalls, face: HttpFace
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        changes.start(asyncio.get_running_loop())
        metrics.start()
        try:
            yield
        finally:
            for step in (changes.join, metrics.stop, page.release, face.close):
                await asyncio.to_thread(step)

    return lifespan


def _refuse(request: Request, error: ServiceError) -> Response:
    if error.retry_after_s is not None and is_by_address(request):
        return come_back(error.message, error.retry_after_s)
    return openai_refusal(error) if request.url.path.startswith(PREFIX) else refusal(error)


async def _known_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ImageGenXError)
    error = exc if isinstance(exc, ServiceError) else service_error(exc)
    if error.code == 500:
        logger.error("%s %s: %s", request.method, request.scope["path"], exc.__cause__ or exc)
    return _refuse(request, error)


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    response = _refuse(request, ServiceError(exc.status_code, _WORDS.get(exc.status_code, str(exc.detail))))
    response.headers.update(exc.headers or {})
    if exc.status_code == 405:
        response.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """Every method that the path takes; the router itself knows only those of the first route that fits it."""
    fitting = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in fitting for method in route.methods}


async def _hung_up(request: Request, exc: Exception) -> Response:
    """The client was gone before its request was whole: nobody reads the answer, and nothing has failed."""
    return Response(status_code=CLIENT_GONE)


async def _bad_parameter(request: Request, exc: Exception) -> Response:
    """A path or query parameter of the wrong kind."""
    assert isinstance(exc, RequestValidationError)
    problems = [Problem(str(error["loc"][-1])[:80], str(error["msg"])) for error in exc.errors()]
    return _refuse(request, service_error(InvalidRequestError(problems)))


async def _unforeseen(request: Request, exc: Exception) -> Response:
    """A bug: the server logs it with its traceback after this answer."""
    return _refuse(request, ServiceError(500, "The gateway failed; its log says why."))


_HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    ImageGenXError: _known_error,
    HTTPException: _http_error,
    ClientDisconnect: _hung_up,
    RequestValidationError: _bad_parameter,
    Exception: _unforeseen,
}


async def _answer_to(request: Request, exc: Exception) -> tuple[Response, bool]:
    """The answer to an error, and whether it is a bug."""
    known = next(kind for kind in type(exc).__mro__ if kind in _HANDLERS)
    return await _HANDLERS[known](request, exc), known is Exception

"""Calls that nothing of the framework stands before: those that read all of their request themselves."""

from collections.abc import Awaitable, Callable, Iterable
from inspect import signature

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

AnswerTo = Callable[[Request, Exception], Awaitable[tuple[Response, bool]]]
"""The answer to an error, and whether it is a bug, which the server is to log."""


class DirectCalls:
    """ASGI middleware that answers POSTs to paths without parameters itself; FastAPI only documents them.

    What FastAPI and Starlette do before each call would cost as much as to queue a request: their own middleware, the
    search for the route, parameters and dependencies, which are about paths with parameters and the queries of GET.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute], answer_to: AnswerTo) -> None:
        self._app, self._answer_to = app, answer_to
        self._routes = {route.path: route for route in routes if isinstance(route, APIRoute) and _reads_all(route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the call, or pass it on."""
        route = self._routes.get(scope["path"]) if scope.get("method") == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"], request, started = route, Request(scope, receive, send), False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            response = await route.endpoint(request)
            await response(scope, receive, noting)
        except Exception as exc:
            if started:
                raise
            refusal, is_bug = await self._answer_to(request, exc)
            await refusal(scope, receive, send)
            if is_bug:
                raise


def _reads_all(route: APIRoute) -> bool:
    given = list(signature(route.endpoint).parameters)
    return route.methods == {"POST"} and not route.param_convertors and given == ["request"]

"""Waiting for tasks, for a bounded time: a coroutine each, and a thread only while they are looked at."""

import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.answers import answer
from gateway.caller_waits import while_connected
from gateway.changes import LOOK_AGAIN_S
from gateway.errors import ServiceError
from gateway.http_face import HttpFace

State = TypeVar("State")


async def states(
    face: HttpFace,
    task_ids: Iterable[str],
    look: Callable[[], State],
    is_over: Callable[[State], bool],
    within_s: float,
) -> AsyncGenerator[State, None]:
    """What `look` sees now and when one of the tasks changes, until that is over, `within_s` are, or the gateway ends.

    Args:
        look: called on a thread.
    """
    deadline = time.monotonic() + within_s
    look_again_s = min(LOOK_AGAIN_S, max(0.05, within_s / 8))
    async with aclosing(face.changes.follow(*task_ids, look_again_s=look_again_s)) as changes:
        async for _ in changes:
            state = await face.call(look)
            yield state
            if is_over(state) or time.monotonic() >= deadline:
                return


async def answer_as_preferred(
    face: HttpFace,
    request: Request,
    submitted: object,
    task_ids: Iterable[str],
    look: Callable[[], dict[str, object]],
    is_over: Callable[[dict[str, object]], bool],
) -> Response:
    """The answer to a submission: 200 at once; or, for who prefers to wait, 200 with its end, or 202.

    Args:
        look: the data of a query; called on a thread. While the queue is away, the wait goes on.
    """
    wait_s = preferred_wait_s(request, face.service.settings.gateway.sync_timeout_s)
    if wait_s is None:
        return answer(200, "accepted", submitted)
    with face.waiting() as may_wait:
        return await _answer_within(wait_s if may_wait else 0, face, request, submitted, task_ids, look, is_over)


async def _answer_within(
    wait_s: int,
    face: HttpFace,
    request: Request,
    submitted: object,
    task_ids: Iterable[str],
    look: Callable[[], dict[str, object]],
    is_over: Callable[[dict[str, object]], bool],
) -> Response:
    def seen() -> dict[str, object]:
        try:
            return look()
        except ServiceError as exc:
            if exc.code < 500:
                raise
            return {}

    async def waited() -> dict[str, object]:
        async with aclosing(states(face, task_ids, seen, lambda data: bool(data) and is_over(data), wait_s)) as found:
            return ([{}] + [data async for data in found])[-1]

    data = await while_connected(request, waited())
    headers = {"Preference-Applied": f"wait={wait_s}", "Cache-Control": "no-store"}
    if data and is_over(data):
        return answer(200, str(data.get("status", "ok")), data, headers)
    return answer(202, "accepted", submitted, headers)


_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.ASCII | re.IGNORECASE)


def preferred_wait_s(request: Request, most_s: float) -> int | None:
    """The seconds that the header `Prefer` asks to wait (RFC 7240), `most_s` at most; of several, the first counts.

    None without a preference, or with one that is none: it is ignored then.
    """
    for given in ",".join(request.headers.getlist("prefer")).split(","):
        if wait := _WAIT.fullmatch(given.partition(";")[0].strip()):
            return min(int(wait[1]), int(most_s))
    return None

"""Server-sent events of tasks and batches: their state at once and at every change, until it is their last one."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from gateway.answers import API
from gateway.caller import caller_key
from gateway.documentation import KEY, LAST_EVENT, described
from gateway.errors import ServiceError
from gateway.guard import about_path
from gateway.http_face import HttpFace, known_query
from gateway.preview_watch import PreviewWatch
from gateway.streams import HEADERS, KIND, EventStream, StreamHolder, StreamPlaces
from resources.accounts import Scope
from resources.queue import Batch, Preview, Task

KEEP_ALIVE_LOOKS = 8
"""After so many looks without news, 16 s at most, a stream of events says something, so that no proxy cuts it."""


@dataclass(frozen=True)
class Seen:
    """A state to tell; `id` tells it from the others of the same thing, in every gateway."""

    id: str
    data: object
    is_last: bool
    task: Task | None = None


class EventCalls:
    """One method per call."""

    def __init__(self, face: HttpFace) -> None:
        self._face, self._service = face, face.service
        self._places = StreamPlaces(face.service.settings.gateway.max_event_streams)

    async def task(self, request: Request, task_id: str, token: str = "", previews: bool = False) -> Response:
        """Server-sent events named `task`: the data of a query, at once and at every change until the task ends.

        A client that comes back names the last event it has in the header `Last-Event-ID`, and is not sent that again;
        if it was the task's last one, the answer is 204, which tells clients to come back no more. The `events_url` of
        a task carries a token, and needs no key.

        With `previews`, also events named `preview` while the pictures are made: `task_id`, `picture` (from 1),
        `progress`, and `image`, a small JPEG as a data URI.
        """
        if token:
            task = await self._face.call(self._service.open_events, task_id, token)
            holder = StreamHolder.of_address(task.owner)
        else:
            account = await self._face.account(Scope.READ)
            task = await self._face.call(self._service.task, account, task_id)
            holder = StreamHolder.of_key(account)
        answers = self._face.answers(request)

        def seen() -> Seen:
            if token:
                now = self._service.open_events(task.id, token)
            else:
                now = self._service.task(self._service.recognise(caller_key()), task.name)
            return Seen(_event_id(now), answers.task(now, self._service.place(now)), now.status.ended, now)

        if task.status.ended and request.headers.get("last-event-id") == _event_id(task):
            return Response(status_code=204)
        watch = PreviewWatch(self._face, task) if previews else None
        return EventStream(self._changes(request, "task", [task.id], seen, watch), self._places, holder)

    async def batch(self, request: Request, batch_task_id: str) -> Response:
        """Server-sent events named `batch`: the data of a query, as the events of a task tell that of a task."""
        account = await self._face.account(Scope.READ)
        batch, tasks = await self._face.call(self._service.batch, account, batch_task_id)
        answers = self._face.answers(request)

        def seen() -> Seen:
            now = self._service.batch(self._service.recognise(caller_key()), batch_task_id)
            return Seen(_batch_event_id(*now), answers.batch(*now), _is_over(now[1]))

        if _is_over(tasks) and request.headers.get("last-event-id") == _batch_event_id(batch, tasks):
            return Response(status_code=204)
        changes = self._changes(request, "batch", batch.task_ids, seen)
        return EventStream(changes, self._places, StreamHolder.of_key(account))

    async def _changes(
        self,
        request: Request,
        name: str,
        task_ids: Sequence[str],
        seen: Callable[[], Seen],
        watch: PreviewWatch | None = None,
    ) -> AsyncGenerator[bytes, None]:
        last, silent = request.headers.get("last-event-id", ""), 0

        def look() -> Seen | None:
            """None while the queue is away."""
            try:
                return seen()
            except ServiceError as exc:
                if exc.code < 500:
                    raise
                return None

        async with aclosing(self._face.changes.follow(*task_ids)) as changes:
            async for _ in changes:
                try:
                    now = await self._face.call(look)
                except ServiceError:  # it has expired, or the key was revoked
                    return
                if now and now.id != last:
                    last, silent = now.id, 0
                    yield _event(name, last, now.data)
                elif (silent := silent + 1) % KEEP_ALIVE_LOOKS == 0:
                    yield b": still here\n\n"
                if watch and now and now.task:
                    for preview in await watch.news(now.task):
                        yield _event("preview", "", _preview(now.task, preview))
                if now and now.is_last:
                    return


def event_routes(face: HttpFace) -> APIRouter:
    """The routes of these calls."""
    calls = EventCalls(face)
    router = APIRouter(tags=["images"], dependencies=[KEY, Depends(about_path), Depends(known_query)])
    stream = described(KIND, LAST_EVENT)
    router.add_api_route(f"{API}/task/{{task_id}}/events", calls.task, methods=["GET"], **stream)
    router.add_api_route(f"{API}/batch-task/{{batch_task_id}}/events", calls.batch, methods=["GET"], **stream)
    return router


def is_by_address(request: Request) -> bool:
    """Whether an `events_url` was opened, which is what `EventSource` does."""
    return request.url.path.endswith("/events") and "token" in request.query_params


def come_back(why: str, after_s: float) -> Response:
    """The refusal of now that is none for good, for `EventSource`, which gives up at every status but 200."""
    return Response(f"retry: {max(1000, round(1000 * after_s))}\n: {why}\n\n", headers=HEADERS, media_type=KIND)


def _event(name: str, id: str, data: object) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {id}\n" if id else ""
    return f"{head}event: {name}\ndata: {text}\n\n".encode("utf-8", "replace")


def _preview(task: Task, preview: Preview) -> dict[str, object]:
    image = f"data:image/jpeg;base64,{preview.jpeg}"
    return {"task_id": task.name, "picture": preview.number, "progress": preview.progress, "image": image}


def _event_id(task: Task) -> str:
    """What tells a state of a task from its others, in every gateway."""
    return f"{round(task.updated_at_s * 1000)}-{task.status.value}-{task.progress}"


def _batch_event_id(batch: Batch, tasks: Sequence[Task]) -> str:
    return sha256("\n".join([batch.id, *map(_event_id, tasks)]).encode()).hexdigest()[:32]


def _is_over(tasks: Sequence[Task]) -> bool:
    return all(task.status.ended for task in tasks)

"""The calls below /api/v1: submit, ask, cancel, follow, download (INTERFACES.md §2)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from foundation.problems import shown
from gateway import documentation as docs
from gateway.answers import API, answer
from gateway.caller import caller_key
from gateway.errors import bad_field, named_as
from gateway.guard import about, about_path
from gateway.http_face import HttpFace, is_multipart, json_object, known_query
from gateway.inputs import INPUT_NAMES
from gateway.picture_file import PictureFile
from gateway.waiting import answer_as_preferred
from models.request import MAX_IMAGES
from resources.accounts import Account, Scope
from resources.queue import STORED_ID, Batch, QueuePlace, Task
from resources.user_data import DeletedData

GENERATE = f"{API}/generate"
MAX_LISTED = 100
_SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)

_NO_STORE = {"Cache-Control": "no-store"}


class ImageCalls:
    """One method per call."""

    def __init__(self, face: HttpFace) -> None:
        self._face = face
        self._service = face.service

    async def generate(self, request: Request) -> Response:
        """Queue one request: JSON, or a form of `request` (the JSON), `image`, `mask` and `control_image` (files)."""
        idempotency_key = request.headers.get("idempotency-key", "")
        if is_multipart(request):
            task = await self._uploaded(request, idempotency_key)
        else:
            body, account = await self._face.body(request)
            task = await self._face.call(self._submit, account, body, idempotency_key)
        about(task_id=task.id)
        answers = self._face.answers(request)

        def look() -> dict[str, object]:
            return answers.task(self._service.latest(task))

        return await answer_as_preferred(
            self._face, request, answers.submitted(task), [task.id], look, lambda data: data["ended_at"] is not None
        )

    async def batch_generate(self, request: Request) -> Response:
        """Queue 1 to 20 requests, all of them or none: `texts` that share everything else, or `items`.

        Each item has its own text and, if it likes, model, parameters, inputs and metadata; what it leaves out is as
        beside `items`.
        """
        idempotency_key = request.headers.get("idempotency-key", "")
        body, account = await self._face.body(request)

        def submit() -> Batch:
            return self._service.submit_batch(account(), json_object(body), idempotency_key=idempotency_key)

        batch = await self._face.call(submit)
        about(batch_id=batch.id)
        return answer(200, "accepted", self._face.answers(request).submitted_batch(batch))

    async def task(self, request: Request, task_id: str) -> Response:
        """The status, true progress and result of a task."""
        task, place = await self._face.call(self._placed, request, task_id)
        return answer(200, task.status.value, self._face.answers(request).task(task, place), _NO_STORE)

    async def batch(self, request: Request, batch_task_id: str) -> Response:
        """The counts, progress and tasks of a batch."""

        def ask() -> object:
            account = self._service.authenticate(caller_key(), Scope.READ)
            return self._face.answers(request).batch(*self._service.batch(account, batch_task_id))

        return answer(200, "ok", await self._face.call(ask), _NO_STORE)

    async def cancel(self, request: Request, task_id: str) -> Response:
        """Cancel a task: at once while it waits, within a few seconds while it runs; an ended one stays as it is."""

        def cancel() -> Task:
            return self._service.cancel(self._service.authenticate(caller_key(), Scope.SUBMIT), task_id)

        task = await self._face.call(cancel)
        return answer(200, task.status.value, self._face.answers(request).task(task), _NO_STORE)

    async def cancel_batch(self, request: Request, batch_task_id: str) -> Response:
        """Cancel what has not ended of a batch, as a task is cancelled."""

        def cancel() -> object:
            account = self._service.authenticate(caller_key(), Scope.SUBMIT)
            return self._face.answers(request).batch(*self._service.cancel_batch(account, batch_task_id))

        return answer(200, "ok", await self._face.call(cancel), _NO_STORE)

    async def delete(self, request: Request, task_id: str) -> Response:
        """Delete an ended task with its pictures, at once and for good; 409 while it goes on."""

        def delete() -> Task:
            return self._service.delete(self._service.authenticate(caller_key(), Scope.SUBMIT), task_id)

        task = await self._face.call_store(delete)
        return answer(200, "deleted", {"task_id": task.name})

    async def delete_all(self, request: Request) -> Response:
        """Cancel all of your tasks, and delete their pictures and records, at once and for good."""

        def delete() -> DeletedData:
            return self._service.delete_all(self._service.authenticate(caller_key(), Scope.SUBMIT))

        return answer(200, "deleted", asdict(await self._face.call_store(delete)))

    async def tasks(
        self, request: Request, limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50, before: str = ""
    ) -> Response:
        """Your tasks, newest first; `before` (the `next_before` of the last answer) goes on from there."""
        before_s, before_id = _read_cursor(before) if before else (None, "")

        def ask() -> list[Task]:
            account = self._service.authenticate(caller_key(), Scope.READ)
            return self._service.owned(account, before_s=before_s, before_id=before_id, limit=limit)

        found = await self._face.call(ask)
        answers = self._face.answers(request)
        data = {
            "tasks": [answers.listed(task) for task in found],
            "next_before": _cursor(found[-1]) if len(found) == limit else None,
        }
        return answer(200, "ok", data, _NO_STORE)

    async def file(
        self,
        request: Request,
        task_id: str,
        kind: Literal["original", "thumb"],
        token: str = "",
        number: Annotated[int, Query(ge=1, le=MAX_IMAGES)] = 1,
    ) -> Response:
        """A finished picture: the one that the token of a result's URL names, whatever else is sent.

        Without a token, for its owner's key, picture `number`, from 1.
        """

        def find() -> tuple[str, str]:
            if token:
                key = self._service.links.key(task_id, kind, token)
            else:
                account = self._service.authenticate(caller_key(), Scope.READ)
                key = self._service.picture_key(account, task_id, kind, number)
            return key, self._service.store_url(key)

        key, url = await self._face.call(find)
        if not url.startswith("file:"):
            return RedirectResponse(url, 302, _NO_STORE)
        return await self._face.call(PictureFile, url2pathname(urlsplit(url).path), key)

    async def models(self, request: Request) -> Response:
        """The models a request may name, and what each can do."""

        def ask() -> object:
            self._service.authenticate(caller_key(), Scope.READ, Scope.SUBMIT)
            return self._service.models.all()

        return answer(200, "ok", await self._face.call(ask))

    def _placed(self, request: Request, task_id: str) -> tuple[Task, QueuePlace | None]:
        task = self._service.task(self._service.authenticate(caller_key(), Scope.READ), task_id)
        return task, self._service.place(task)

    def _submit(self, account: Callable[[], Account], body: bytes, idempotency_key: str) -> Task:
        return self._service.submit(account(), json_object(body), idempotency_key=idempotency_key)

    async def _uploaded(self, request: Request, idempotency_key: str) -> Task:
        account = await self._face.account(Scope.SUBMIT)
        async with self._face.form(request, account, files=len(INPUT_NAMES)) as (texts, pictures):
            data, by_field = _read_upload(texts, pictures)
            submit = self._service.submit
            names = {INPUT_NAMES[name]: name for name in pictures}
            with named_as(lambda field: names.get(field, field)):
                return await self._face.call_store(
                    submit, account, data, idempotency_key=idempotency_key, pictures=by_field
                )


def image_routes(face: HttpFace) -> APIRouter:
    """The routes of these calls."""
    calls = ImageCalls(face)
    before = [docs.KEY, Depends(about_path), Depends(known_query)]
    router = APIRouter(tags=["images"], dependencies=before)
    generate = docs.described(docs.Submitted, docs.GENERATE_BODY | docs.IDEMPOTENT)
    batch = docs.described(docs.SubmittedBatch, docs.BATCH_BODY | docs.IDEMPOTENT)
    batch_state = docs.described(docs.BatchState)
    add = router.add_api_route
    add(GENERATE, calls.generate, methods=["POST"], **generate)
    add(f"{API}/batch-generate", calls.batch_generate, methods=["POST"], **batch)
    add(f"{API}/task/{{task_id}}", calls.task, methods=["GET"], **docs.described(docs.TaskState))
    add(f"{API}/task/{{task_id}}", calls.cancel, methods=["DELETE"], **docs.described(docs.TaskState))
    add(f"{API}/picture/{{task_id}}", calls.delete, methods=["DELETE"], **docs.described(docs.Deleted))
    add(f"{API}/batch-task/{{batch_task_id}}", calls.batch, methods=["GET"], **batch_state)
    add(f"{API}/batch-task/{{batch_task_id}}", calls.cancel_batch, methods=["DELETE"], **batch_state)
    add(f"{API}/tasks", calls.tasks, methods=["GET"], **docs.described(docs.TaskList))
    add(f"{API}/tasks", calls.delete_all, methods=["DELETE"], **docs.described(docs.DeletedAll))
    add(f"{API}/file/{{task_id}}/{{kind}}", calls.file, methods=["GET"], **docs.described("image/*"))
    add(f"{API}/file/{{task_id}}/{{kind}}", calls.file, methods=["HEAD"], include_in_schema=False)
    add("/api/v1/models", calls.models, methods=["GET"], **docs.described(docs.Models))
    return router


def _read_upload(
    texts: Mapping[str, str], pictures: Mapping[str, bytes]
) -> tuple[Mapping[str, object], dict[str, bytes]]:
    """The request in a form, and its pictures by the request's fields."""
    for name in (*texts, *pictures):
        if name != "request" and name not in INPUT_NAMES:
            raise bad_field(name[:80], f"unknown field of the form. It takes: request, {', '.join(INPUT_NAMES)}")
    data = json_object(texts.get("request", "{}"), "request")
    by_field = {INPUT_NAMES.get(name, name): content for name, content in pictures.items()}
    for field in by_field:
        if data.get(field):
            raise bad_field(field, "given both as a URL and as an upload; leave one out")
    return data, by_field


def _cursor(task: Task) -> str:
    """What a page of the list that ends with this task goes on from."""
    return f"{task.created_at_s:.3f}~{task.id}"


def _read_cursor(text: str) -> tuple[float, str]:
    """A time in s, and the id of a task of that time; a time alone is what clients may send as well."""
    seconds, mark, task_id = text.partition("~")
    if not (_SECONDS.fullmatch(seconds) and (not mark or STORED_ID.fullmatch(task_id))):
        raise bad_field("before", f"{shown(text)} is neither a `next_before` nor a Unix time in seconds")
    return float(seconds), task_id

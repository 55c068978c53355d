"""The OpenAI Images form of the service: a call waits for its pictures, and the official clients work unchanged."""

import base64
import json
import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import Response

from foundation.problems import Problem, one_of, shown
from gateway.answers import json_response, retry_headers
from gateway.caller_waits import CallerWaits
from gateway.documentation import form_body, request_properties
from gateway.errors import ServiceError, bad_field, service_errors
from gateway.guard import about
from gateway.http_face import HttpFace, json_object, known_query
from gateway.openai_events import KEEP_ALIVE, OpenAIEvents
from gateway.preview_watch import PreviewWatch
from gateway.streams import EventStream, StreamHolder, StreamPlaces
from gateway.waiting import states
from models.errors import InvalidRequestError, RejectedError
from resources.accounts import Account, Scope
from resources.queue import Task, TaskPicture, TaskStatus

PREFIX = "/v1/"
EDITS = "/v1/images/edits"

_FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_RESPONSE_FORMATS = ("url", "b64_json")
_PARAMS = {"size": "resolution", "n": "num_images"}
_OWN_PARAMS = (
    *("steps", "cfg_scale", "sampler", "schedule", "seed", "negative_text", "strength"),
    *("step_cache", "lora_name", "lora_weight", "loras"),
)
_WITHOUT_EFFECT = ("quality", "style", "user", "moderation", "input_fidelity")
_REFUSED = {
    "background": (("auto", "opaque"), "no model here paints transparent backgrounds; leave it out"),
    "output_compression": ((100,), "files are compressed as `pictures.original_quality` says; leave it out"),
}
"""Fields that ask for what is not done here, unless they say one of these values."""
MAX_PARTIAL_IMAGES = 3
"""As OpenAI allows."""
_WHOLE_NUMBERS = ("n", "steps", "seed", "output_compression", "partial_images")
_NUMBERS = ("cfg_scale", "strength", "lora_weight")
_NUMBER = re.compile(r"[-+.0-9eE]+", re.ASCII)
"""What JSON could say, too: not all digits and signs that Python reads."""
_KNOWN = (
    *("prompt", "model", "response_format", "output_format", "stream", "partial_images"),
    *(*_PARAMS, *_OWN_PARAMS, *_WITHOUT_EFFECT, *_REFUSED),
)
_NAMES = {
    **{"text": "prompt", "model_type": "model", "image_url": "image", "mask_url": "mask"},
    **{"params.resolution": "size", "params.num_images": "n"},
}
_TYPES = {401: "authentication_error", 429: "rate_limit_error"}
_RETRIES = "x-stainless-retry-count"
"""How often an official client has sent this call before."""
_DONT_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients send a request again after a 5xx unless told not to."""


class _AcceptedError(ServiceError):
    """No pictures in the answer, although the task was accepted: sending the call again would make another task."""


@dataclass(frozen=True)
class AnswerForm:
    """How the pictures are answered; `partial_images` is None unless they are streamed."""

    response_format: str
    partial_images: int | None


class OpenAICalls:
    """One method per call."""

    def __init__(self, face: HttpFace) -> None:
        self._face = face
        self._service = face.service
        self._waits = CallerWaits(face)
        self._places = StreamPlaces(face.service.settings.gateway.max_event_streams)

    async def generations(self, request: Request) -> Response:
        """Make pictures from a prompt and wait for them."""
        account = await self._face.account(Scope.SUBMIT)
        asked = _without_nulls(json_object(await request.body()))
        data, form = _translated(asked)
        task = await self._face.call(self._submit, request, account, data, {})
        return await self._answered(request, account, task, form)

    async def edits(self, request: Request) -> Response:
        """Change an uploaded picture: all of it, or where `mask` is transparent."""
        account = await self._face.account(Scope.SUBMIT)
        async with self._face.form(request, account, files=4) as (texts, pictures):
            data, form = _translated(_numbers(texts))
            task = await self._face.call_store(self._submit, request, account, data, pictures)
        return await self._answered(request, account, task, form)

    async def models(self, request: Request) -> Response:
        """The models in the OpenAI form."""
        await self._face.account(Scope.READ, Scope.SUBMIT)
        models = [_model(name) for name in await self._face.call(self._service.models.names)]
        return json_response(200, {"object": "list", "data": models})

    async def model(self, request: Request, model: str) -> Response:
        """One of them."""
        await self._face.account(Scope.READ, Scope.SUBMIT)
        if model not in await self._face.call(self._service.models.names):
            raise ServiceError(404, f"There is no model {shown(model)}. GET /v1/models lists those that there are.")
        return json_response(200, _model(model))

    def _submit(
        self, request: Request, account: Account, data: Mapping[str, object], pictures: Mapping[str, bytes]
    ) -> Task:
        given = self._given(data, pictures) if pictures or request.url.path == EDITS else {}
        key = request.headers.get("idempotency-key", "")
        return self._service.submit(
            account, data, idempotency_key=key, pictures=given, is_retry=request.headers.get(_RETRIES, "0") != "0"
        )

    async def _answered(self, request: Request, account: Account, task: Task, form: AnswerForm) -> Response:
        about(task_id=task.id)
        if form.partial_images is not None:
            return EventStream(self._streamed(request, account, task, form), self._places, StreamHolder.of_key(account))
        with self._face.waiting() as may_wait:
            if not may_wait:
                rule = f"Too many of your calls wait for their pictures. Task '{task.id}' goes on; {_at(task)}"
                raise _AcceptedError(429, rule)
            task = await self._waits.while_connected(request, task, self._finished(account, task))
        try:
            pictures = await self._face.call_store(self._pictures, request, task, form.response_format)
        except ServiceError as exc:
            raise _AcceptedError(exc.code, f"{exc.message} Task '{task.id}' is done; {_at(task)}") from exc
        return json_response(200, {"created": int(time.time()), "data": pictures})

    async def _streamed(
        self, request: Request, account: Account, task: Task, form: AnswerForm
    ) -> AsyncGenerator[bytes, None]:
        """The events of OpenAI's streams: partial pictures, then each picture, or an error."""
        events = OpenAIEvents("edit" if request.url.path == EDITS else "generation", task, form.partial_images or 0)
        try:
            async with self._waits.waiting(task), aclosing(self._followed(account, task)) as seen:
                watch = PreviewWatch(self._face, task) if form.partial_images else None
                async for task in seen:
                    for preview in await watch.news(task) if watch else ():
                        if event := events.partial(preview):
                            yield event
                    if events.is_silent():
                        yield KEEP_ALIVE
            pictures = await self._face.call_store(self._pictures, request, task, "b64_json")
        except ServiceError as exc:
            yield events.failed(openai_error(exc))
            return
        for picture in pictures:
            yield events.completed(picture["b64_json"])

    async def _finished(self, account: Account, task: Task) -> Task:
        """The task once it has succeeded; raises what `_followed` does."""
        async with aclosing(self._followed(account, task)) as seen:
            return [task async for task in seen][-1]

    async def _followed(self, account: Account, task: Task) -> AsyncGenerator[Task, None]:
        """The task at every change, until it has succeeded; while the queue is away, it is waited for.

        Raises:
            _AcceptedError: it fails, takes longer than a caller waits, or the gateway shuts down.
        """
        began, timeout_s = time.monotonic(), self._service.settings.gateway.sync_timeout_s
        look = partial(self._looked_at, account, task)
        async with aclosing(states(self._face, [task.id], look, lambda task: task.status.ended, timeout_s)) as seen:
            async for task in seen:
                if task.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
                    raise _AcceptedError(500, f"Task '{task.id}' {task.status.value}: {task.error or 'cancelled'}")
                yield task
        if task.status is TaskStatus.SUCCESS:
            return
        if time.monotonic() - began >= timeout_s:
            late = f"The picture is not finished after {timeout_s:g} s. Task '{task.id}' goes on; {_at(task)}"
            raise _AcceptedError(504, late)
        raise _AcceptedError(503, f"The gateway is shutting down. Task '{task.id}' goes on; {_at(task)}")

    def _looked_at(self, account: Account, task: Task) -> Task:
        """The task as it is now, or as it was while the queue is away."""
        try:
            return self._service.task(account, task.id)
        except ServiceError as exc:
            if exc.code < 500:
                raise _AcceptedError(exc.code, exc.message) from exc
            return task

    @service_errors()
    def _pictures(self, request: Request, task: Task, response_format: str) -> list[dict[str, str]]:
        assert task.result is not None
        return [self._picture(request, task, picture, response_format) for picture in task.result.pictures]

    def _picture(self, request: Request, task: Task, picture: TaskPicture, response_format: str) -> dict[str, str]:
        if response_format == "url":
            return {"url": self._service.links.url(task, picture, "original", self._face.base_url(request))}
        return {"b64_json": base64.b64encode(self._service.store.get(picture.original_key)).decode()}

    def _given(self, data: Mapping[str, object], pictures: Mapping[str, bytes]) -> dict[str, bytes]:
        """The pictures by the request's fields, once the request is known to be right."""
        images = [data for name, data in pictures.items() if name in ("image", "image[]")]
        unknown = [name for name in pictures if name not in ("image", "image[]", "mask")]
        if unknown or len(images) != 1:
            raise bad_field("image", f"{len(images)} pictures; this call takes one `image`, and a `mask` if you like")
        self._service.validate(data, ["image_url", *(["mask_url"] if "mask" in pictures else [])])
        given = {"image_url": images[0]}
        if "mask" in pictures:
            given["mask_url"] = self._service.uploads.alpha_as_mask("mask", pictures["mask"])
        return given


def openai_refusal(error: ServiceError) -> Response:
    """A refused call in OpenAI's form."""
    retried_in_vain = error.code == 500 or isinstance(error, _AcceptedError)
    headers = retry_headers(error, _DONT_RETRY if retried_in_vain else None)
    return json_response(_code(error), {"error": openai_error(error)}, headers)


def _code(error: ServiceError) -> int:
    return {403: 401, 422: 400}.get(error.code, error.code)


def openai_error(error: ServiceError) -> dict[str, object]:
    """Why a call is refused, in OpenAI's form."""
    code = _code(error)
    kind = _TYPES.get(code, "server_error" if code >= 500 else "invalid_request_error")
    param = _name(error.problems[0].field) if error.problems else None
    text = "\n".join(str(Problem(_name(p.field), p.rule)) for p in error.problems) or error.message
    content: dict[str, object] = {"message": text, "type": kind, "param": param or None, "code": None}
    if code == 401:
        content["code"] = "invalid_api_key"
    if isinstance(error.__cause__, RejectedError):
        content["code"] = "content_policy_violation"
    return content


def openai_routes(face: HttpFace) -> APIRouter:
    """The routes of these calls."""
    calls = OpenAICalls(face)
    before = [Security(HTTPBearer(auto_error=False)), Depends(known_query)]
    router = APIRouter(tags=["OpenAI"], dependencies=before)
    json_body = {"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}}
    form = {"requestBody": {"required": True, "content": _FORM}}
    options: dict[str, Any] = {"response_model": None, "responses": _RESPONSES}
    add = router.add_api_route
    event = {"type": "object", "properties": {"event": {"type": "string"}, "data": {"type": "string"}}}
    streamed = {"text/event-stream": {"schema": event}}
    good = {**_RESPONSES[200], "content": _RESPONSES[200]["content"] | streamed}
    pictures: dict[str, Any] = {**options, "responses": {**_RESPONSES, 200: good}}
    add("/v1/images/generations", calls.generations, methods=["POST"], openapi_extra=json_body, **pictures)
    add(EDITS, calls.edits, methods=["POST"], openapi_extra=form, **pictures)
    add("/v1/models", calls.models, methods=["GET"], **options)
    missing: dict[int | str, dict[str, Any]] = {404: {**_RESPONSES[400], "description": "No such model"}}
    add("/v1/models/{model}", calls.model, methods=["GET"], response_model=None, responses=_RESPONSES | missing)
    return router


def _translated(asked: Mapping[str, Any]) -> tuple[dict[str, object], AnswerForm]:
    """The request in our form, and how the pictures are to be answered."""
    if unknown := [Problem(str(name)[:80], "unknown field") for name in asked if name not in _KNOWN]:
        raise _refused(unknown[:100])
    for name, (harmless, rule) in _REFUSED.items():
        if name in asked and asked[name] not in harmless:
            raise bad_field(name, rule)
    response_format = asked.get("response_format", "url")
    if response_format not in _RESPONSE_FORMATS:
        raise bad_field("response_format", one_of(response_format, _RESPONSE_FORMATS))
    params = {name: asked[name] for name in _OWN_PARAMS if name in asked}
    params.update({ours: asked[theirs] for theirs, ours in _PARAMS.items() if asked.get(theirs, "auto") != "auto"})
    if "output_format" in asked:
        params["post_process"] = {"format": _format(asked["output_format"])}
    data: dict[str, object] = {"text": asked.get("prompt"), "params": params}
    return {**data, "model_type": asked.get("model")}, AnswerForm(response_format, _partial_images(asked))


def _partial_images(asked: Mapping[str, Any]) -> int | None:
    """How many partial pictures are streamed; None without a stream."""
    stream, partial_images = asked.get("stream", False), asked.get("partial_images", 0)
    if not isinstance(stream, bool) and stream not in ("true", "false"):
        raise bad_field("stream", f"{shown(stream)} is neither true nor false")
    if type(partial_images) is not int or not 0 <= partial_images <= MAX_PARTIAL_IMAGES:
        raise bad_field("partial_images", f"{shown(partial_images)} is not a number from 0 to {MAX_PARTIAL_IMAGES}")
    if stream in (True, "true"):
        if asked.get("response_format", "b64_json") != "b64_json":
            raise bad_field("response_format", "streamed pictures come as b64_json; leave it out")
        return partial_images
    if partial_images:
        raise bad_field("partial_images", "goes with `stream`: true")
    return None


def _at(task: Task) -> str:
    return f"its result will be at GET /api/v1/image/task/{task.id}."


def _format(given: object) -> str:
    if not isinstance(given, str) or given not in _FORMATS:
        raise bad_field("output_format", one_of(given, _FORMATS))
    return _FORMATS[given]


def _numbers(texts: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a form with numbers and JSON read; what is neither is left for the request's validation."""
    read: dict[str, Any] = dict(texts)
    with suppress(ValueError, RecursionError):
        read |= {"loras": json.loads(texts["loras"])} if "loras" in texts else {}
    for name in {*_WHOLE_NUMBERS, *_NUMBERS} & texts.keys():
        if _NUMBER.fullmatch(texts[name]):
            with suppress(ValueError):
                read[name] = (int if name in _WHOLE_NUMBERS else float)(texts[name])
    return read


def _without_nulls(data: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in data.items() if value is not None}


def _refused(problems: list[Problem]) -> ServiceError:
    error = InvalidRequestError(problems)
    return ServiceError(422, str(error), problems=error.problems)


def _name(field: str) -> str:
    return _NAMES.get(field, field.removeprefix("params."))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "imagegenx"}


_OWN = request_properties()
_FIELDS: dict[str, Any] = {
    "prompt": _OWN["text"],
    "model": {"type": "string", "description": f"a model of GET /api/v1/models, like {shown('tiny')}"},
    "n": _OWN["params.num_images"],
    "size": {
        "type": "string",
        "pattern": r"^(auto|\d{1,4}[×xX*]\d{1,4})$",
        "description": "W×H in px; auto: the model's",
    },
    "response_format": {"type": "string", "enum": list(_RESPONSE_FORMATS), "default": "url"},
    "output_format": {"type": "string", "enum": list(_FORMATS), "default": "webp"},
    "stream": {"type": "boolean", "default": False, "description": "answer events, as OpenAI's streams do"},
    "partial_images": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_PARTIAL_IMAGES,
        "default": 0,
        "description": "so many previews are streamed while the first picture is made",
    },
    **{name: _OWN[f"params.{name}"] for name in _OWN_PARAMS},
    **{name: {"type": "string", "description": "taken, and without effect here"} for name in _WITHOUT_EFFECT},
    **{name: {"enum": list(harmless), "description": rule} for name, (harmless, rule) in _REFUSED.items()},
}
_BODY = {"type": "object", "properties": _FIELDS, "required": ["prompt"], "additionalProperties": False}
_FILE = {"type": "string", "format": "binary"}
_FORM = form_body({**_FIELDS, "image": _FILE, "mask": _FILE}, ["prompt", "image"])
_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "object", "required": ["message", "type"]}},
    "required": ["error"],
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}},
    **{
        code: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for code, text in {
            **{
                400: "A bad field",
                401: "No API key, or a wrong one",
                408: "The form did not arrive",
                409: "Conflict",
                413: "Too large",
            },
            **{429: "Over the key's QPS", 500: "The picture failed", 503: "Full or down", 504: "Not finished in time"},
        }.items()
    },
}

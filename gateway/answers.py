"""What the HTTP face answers: the envelope of INTERFACES.md §2 and the data in it."""

import json
import math
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from foundation.error_text import error_text
from gateway.errors import ServiceError
from gateway.inputs import INPUT_NAMES
from gateway.service import GatewayService, picture_result
from models.request import input_references, with_references
from models.subjects import subject_hint
from resources.queue import Batch, QueuePlace, Task, TaskPicture, TaskStatus

API = "/api/v1/image"
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def answer(code: int, message: str, data: object = None, headers: Mapping[str, str] | None = None) -> Response:
    """The envelope; the HTTP status is its code."""
    return json_response(code, {"code": code, "message": message, "data": data}, headers)


def refusal(error: ServiceError, headers: Mapping[str, str] | None = None) -> Response:
    """The envelope of a refused call; `data.problems` lists the fields of a bad request."""
    problems = [{"field": problem.field, "rule": problem.rule} for problem in error.problems]
    data = {"problems": problems} if problems else None
    return answer(error.code, error.message, data, retry_headers(error, headers))


def retry_headers(error: ServiceError, headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a refusal: `Retry-After` in whole seconds where coming back helps."""
    wait_s = error.retry_after_s
    return {
        **error.headers,
        **(headers or {}),
        **({} if wait_s is None else {"Retry-After": str(max(1, math.ceil(wait_s)))}),
    }


def json_response(code: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    """Compact JSON in UTF-8."""
    return Response(_json(content).encode("utf-8", "replace"), code, headers, "application/json")


class Answers:
    """Tasks and batches as their callers see them.

    URLs of pictures are below the address the caller used, because they are handed on; `query_url` is a path, for the
    caller alone.
    """

    def __init__(self, service: GatewayService, base_url: str = "") -> None:
        self._links = service.links
        self._registry = service.registry
        self._base_url = base_url

    def submitted(self, task: Task) -> dict[str, object]:
        """The data of a submission."""
        data = {"task_id": task.name, "status": task.status.value, "progress": task.progress}
        return {**data, "query_url": f"{API}/task/{task.name}", **self._hint(task)}

    def submitted_batch(self, batch: Batch) -> dict[str, object]:
        """The data of a batch's submission."""
        return {
            "batch_task_id": batch.id,
            "task_ids": list(batch.task_ids),
            "total": len(batch.task_ids),
            "query_url": f"{API}/batch-task/{batch.id}",
        }

    def task(self, task: Task, place: QueuePlace | None = None) -> dict[str, object]:
        """The data of a query: status, true progress, times, and the result or the reason there is none."""
        data: dict[str, object] = {
            "task_id": task.name,
            "status": task.status.value,
            "progress": task.progress,
            "created_at": task.created_at_s,
            "started_at": task.started_at_s,
            "ended_at": task.ended_at_s,
            "events_url": self._links.absolute(self._links.events_path(task), self._base_url),
            **self._hint(task),
        }
        if place:
            data["queue_position"] = place.position
            data["eta_s"] = None if place.eta_s is None else round(place.eta_s, 1)
        if task.status is TaskStatus.SUCCESS and task.result:
            data["result"] = self._result(task, task.result.pictures)
        if metadata := task.request.get("metadata"):
            data["metadata"] = metadata
        if task.error:
            data["error_msg"] = error_text(task.error)
        if task.cause:
            data["error_code"] = task.cause.value
        return data

    def listed(self, task: Task) -> dict[str, object]:
        """A task with what was asked for, for its owner's list."""
        request = task.request
        asked = {"text": request.get("text"), "model_type": request.get("model_type"), "params": request.get("params")}
        names = {field: name for name, field in INPUT_NAMES.items()}
        given = [field for field, reference in input_references(request) if reference]
        inputs = with_references(request, {field: f"{task.name}/{names.get(field, field)}" for field in given})
        shown = {name: inputs[name] for name in (*INPUT_NAMES.values(), "controls") if inputs.get(name)}
        return {**self.task(task), **asked, **shown}

    def batch(self, batch: Batch, tasks: Sequence[Task]) -> dict[str, object]:
        """The data of a batch query; a task whose status has expired is in `total` alone."""
        total = len(batch.task_ids)
        statuses = [task.status for task in tasks]
        done = sum(100 if task.status.ended else task.progress for task in tasks) + 100 * (total - len(tasks))
        return {
            "batch_task_id": batch.id,
            "total": total,
            "success_count": statuses.count(TaskStatus.SUCCESS),
            "failed_count": statuses.count(TaskStatus.FAILED),
            "waiting_count": statuses.count(TaskStatus.WAITING),
            "processing_count": statuses.count(TaskStatus.PROCESSING),
            "cancelled_count": statuses.count(TaskStatus.CANCELLED),
            "progress": done // total,
            "tasks": [{"result": None, **self.task(task)} for task in tasks],
        }

    def _hint(self, task: Task) -> dict[str, object]:
        hint = subject_hint(task.request, self._registry)
        return {"hint": hint} if hint else {}

    def _result(self, task: Task, pictures: Sequence[TaskPicture]) -> dict[str, object]:
        shown = [self._picture(task, picture) for picture in pictures]
        return {**shown[0], "pictures": shown}

    def _picture(self, task: Task, picture: TaskPicture) -> dict[str, object]:
        urls = [self._links.url(task, picture, kind, self._base_url) for kind in ("original", "thumb")]
        recipe = json.loads(picture.recipe) if picture.recipe else None
        return {**picture_result(picture, *urls), "seed": picture.seed, "recipe": recipe}

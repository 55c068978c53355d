"""The calls of `imagegenx.proto`: messages in and out, the service in between."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from foundation.problems import shown
from gateway.answers import Answers
from gateway.errors import ServiceError
from gateway.service import GatewayService
from gateway.stubs import imagegenx_pb2 as pb2
from models.request import INPUT_FIELDS
from resources.accounts import Account, Scope
from resources.queue import Task

_GIGABYTE = 10**9
_FLOAT_DIGITS = 7
"""Decimal digits that a 32-bit float holds: 7.1 arrives as 7.0999999 and is taken as 7.1."""

_PARAMS = (
    *("resolution", "steps", "cfg_scale", "sampler", "lora_name", "lora_weight"),
    *("negative_text", "strength", "num_images", "schedule", "step_cache", "control_start", "control_end"),
)
_WATERMARK = ("enable", "text", "font", "color", "position", "transparency")
_OTHERS = ("model_type", *INPUT_FIELDS, "callback_url", "priority")
_PICTURE = ("original_url", "thumb_url", "resolution", "format", "size", "seed")


class Scheduler:
    """The calls of the SchedulerService; every one raises only ServiceError."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._answers = Answers(service)

    def submit_task(self, request: pb2.SubmitTaskRequest) -> pb2.SubmitTaskResponse:
        """Queue a request under the client's task id."""
        account = self._service.authenticate(request.api_key, Scope.SUBMIT)
        _check_user(account, request.user_id)
        task = self._service.submit(account, request_data(request), task_id=request.task_id)
        return pb2.SubmitTaskResponse(code=200, message="submitted", task_id=task.name)

    def query_task(self, request: pb2.QueryTaskRequest) -> pb2.QueryTaskResponse:
        """The status of one of the caller's tasks."""
        account = self._service.authenticate(request.api_key, Scope.READ)
        return self._status(self._service.task(account, request.task_id))

    def cancel_task(self, request: pb2.QueryTaskRequest) -> pb2.QueryTaskResponse:
        """Cancel one of the caller's tasks; its status then."""
        account = self._service.authenticate(request.api_key, Scope.SUBMIT)
        return self._status(self._service.cancel(account, request.task_id))

    def watched(self, request: pb2.QueryTaskRequest) -> tuple[Account, Task]:
        """Who watches a task, and the task that they watch."""
        account = self._service.authenticate(request.api_key, Scope.READ)
        return account, self._service.task(account, request.task_id)

    def look(self, request: pb2.QueryTaskRequest) -> pb2.QueryTaskResponse:
        """A look at a watched task, which counts as no call; `code` is 503 while the queue is away."""
        return self._status(self._service.task(self._service.recognise(request.api_key), request.task_id))

    def _status(self, task: Task) -> pb2.QueryTaskResponse:
        data = self._answers.task(task)
        result = cast("Mapping[str, Any]", data.get("result") or {})
        status = pb2.TaskStatus(
            task_id=str(data["task_id"]),
            status=str(data["status"]),
            progress=cast("int", data["progress"]),
            original_url=result.get("original_url"),
            thumb_url=result.get("thumb_url"),
            error_msg=cast("str | None", data.get("error_msg")),
            pictures=[pb2.Picture(**{name: one[name] for name in _PICTURE}) for one in result.get("pictures", ())],
            metadata=cast("Mapping[str, str]", data.get("metadata") or {}),
        )
        return pb2.QueryTaskResponse(code=200, message="ok", status=status)

    def query_gpu_load(self, request: pb2.QueryGPULoadRequest) -> pb2.QueryGPULoadResponse:
        """The GPUs of the live workers; none where they compute on the CPU."""
        self._service.authenticate(request.api_key, Scope.READ, Scope.OPERATE)
        loads = [
            pb2.GPULoad(
                device_id=load.device_id,
                utilization=load.utilization,
                memory_used=load.memory_used_bytes / _GIGABYTE,
                memory_total=load.memory_total_bytes / _GIGABYTE,
            )
            for load in self._service.gpu_loads()
        ]
        return pb2.QueryGPULoadResponse(code=200, message="ok", gpu_loads=loads)


def request_data(request: pb2.SubmitTaskRequest) -> dict[str, object]:
    """The request as the service takes it. proto3 cannot tell 0 and empty from "not given": both mean the default.

    Nothing is lost by that: a guidance of 1 is none as 0 is, no `lora_name` is a weight of 0, and a mark of opacity 0
    is no mark.
    """
    params = _given(request.params, _PARAMS)
    if request.params.HasField("seed"):
        params["seed"] = request.params.seed
    if request.params.HasField("control_weight"):
        params["control_weight"] = _decimal(request.params.control_weight)
    if loras := request.params.loras:
        params["loras"] = [_lora(lora) for lora in loras]
    post_process = _given(request.params.post_process, ("super_resolution", "upscaler", "format"))
    if watermark := _given(request.params.post_process.watermark, _WATERMARK):
        post_process["watermark"] = {"enable": False, **watermark}
    if post_process:
        params["post_process"] = post_process
    several = {
        "controls": [_control(control) for control in request.controls],
        "callback_events": list(request.callback_events),
        "metadata": dict(request.metadata),
    }
    given = {name: value for name, value in several.items() if value}
    return {"text": request.text, **_given(request, _OTHERS), **given, "params": params}


def _given(message: object, names: tuple[str, ...]) -> dict[str, object]:
    return dict(_fields(message, names))


def _fields(message: object, names: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    for name in names:
        if value := getattr(message, name):
            yield name, _decimal(value) if isinstance(value, float) else value


def _control(control: pb2.Control) -> dict[str, object]:
    weight = {"weight": _decimal(control.weight)} if control.HasField("weight") else {}
    return _given(control, ("model", "image", "start", "end")) | weight


def _lora(lora: pb2.Lora) -> dict[str, object]:
    weight = {"weight": _decimal(lora.weight)} if lora.HasField("weight") else {}
    return {"name": lora.name, **weight}


def _decimal(value: float) -> float:
    return float(f"{value:.{_FLOAT_DIGITS}g}")


def _check_user(account: Account, user_id: str) -> None:
    if user_id not in ("", account.user_id):
        raise ServiceError(
            403, f"user_id {shown(user_id)} is not the user of this API key. Send the key's user, or leave it empty."
        )

"""What the queue holds: tasks, batches of them, and their results."""

import hashlib
import json
import random
import re
import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from foundation.errors import FailureCause
from foundation.problems import shown
from foundation.value_object import ValueObject
from models.request import MAX_SEED, GenerationRequest, ImageFormat, input_references, with_references

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
"""What task ids look like that clients choose, or are told."""
STORED_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,144}", re.ASCII)
"""What task ids look like here and in object keys: those that clients chose carry their owner's mark.

No `~` is in one: that sets a task's further pictures apart in object keys.
"""


_sorted_json = json.JSONEncoder(sort_keys=True).encode
_UPLOAD_DAY = re.compile(r"^(store:uploads/)\d{8}/")


class TaskStatus(StrEnum):
    """Where a task is; the last three are end states, and a task reaches one of them once."""

    WAITING = "waiting"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self in (TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED)


class TaskPicture(ValueObject):
    """One finished picture in the object store; sizes are those of the original."""

    original_key: str
    thumb_key: str
    width_px: int = Field(ge=1)
    height_px: int = Field(ge=1)
    format: ImageFormat
    size_bytes: int = Field(ge=1)
    seed: int
    recipe: str = Field(description="JSON")


class TaskResult(ValueObject):
    """The pictures of a successful task, `params.num_images` of them, and the seconds each stage took."""

    pictures: Annotated[tuple[TaskPicture, ...], Field(min_length=1)]
    seconds: dict[str, float] = Field(default={})


class Task(ValueObject):
    """A task as the queue knows it at one moment."""

    id: str
    owner: str = Field(description="user_id of the account that submitted it")
    status: TaskStatus
    progress: int = Field(ge=0, le=100, description="denoising steps done over steps to do, %")
    request: dict[str, Any] = Field(description="the GenerationRequest as JSON data, with the seed that is used")
    batch_id: str | None
    callback_url: str | None
    created_at_s: float = Field(description="Unix time by the clock of Redis")
    updated_at_s: float = Field(description="Unix time by the clock of Redis")
    started_at_s: float | None = Field(default=None, description="when a worker first had it, by the same clock")
    result: TaskResult | None
    error: str
    cause: FailureCause | None = Field(default=None, description="what it failed of, if it has failed")
    deliveries: int = Field(ge=0, description="workers that have claimed it, less those that gave it back")
    previews: int = Field(default=0, ge=0, description="shown so far")

    @property
    def ended_at_s(self) -> float | None:
        """When it reached its end state, Unix time; None before."""
        return self.updated_at_s if self.status.ended else None

    @property
    def name(self) -> str:
        """The id that its owner knows it by."""
        return self.id.removesuffix(_mark(self.owner))


def _task_id(text: str) -> str:
    if not STORED_ID.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a task id: 1 to 145 of A-Z, a-z, 0-9, '_', '.' and '-'")
    return text


class NewTask(ValueObject):
    """A request to submit, under an id of `new_task_id()` or of the client's choice (ValidationError if malformed).

    The request is given as it was validated: the queue draws the seed if there is none. So the same request sent
    twice is the same content, whatever seed the first one got.
    """

    id: Annotated[str, AfterValidator(_task_id)]
    request: GenerationRequest

    @cached_property
    def given(self) -> dict[str, Any]:
        """The request as JSON data."""
        return self.request.model_dump(mode="json")

    @cached_property
    def digest(self) -> str:
        """The sha256, in hex, of the request as it was given: equal digests, equal content.

        An uploaded picture counts by its content, which its key names, not by the day that it came on.
        """
        undated = {
            name: _UPLOAD_DAY.sub(r"\1", url)
            for name, url in input_references(self.given)
            if isinstance(url, str) and url
        }
        return hashlib.sha256(_sorted_json(with_references(self.given, undated)).encode()).hexdigest()

    def is_like(self, task: Task) -> bool:
        """Whether a task that the queue knows has the same content; a seed that was drawn for it is not its content."""
        try:
            request = GenerationRequest.model_validate(task.request)
        except ValueError:  # of another version, or shortened since it ended
            return False
        if self.request.params.seed is None:
            params = request.params.model_copy(update={"seed": None})
            request = request.model_copy(update={"params": params})
        return NewTask(id=self.id, request=request).digest == self.digest

    def seeded(self) -> dict[str, Any]:
        """The request as JSON data, with a seed: its own, or one drawn at random."""
        params = self.given["params"]
        seed = random.randint(0, MAX_SEED) if params["seed"] is None else params["seed"]
        return {**self.given, "params": {**params, "seed": seed}}


class Batch(ValueObject):
    """Tasks that were submitted together."""

    id: str
    owner: str
    task_ids: tuple[str, ...]
    callback_url: str | None
    created_at_s: float


def owned_id(owner: str, name: str) -> str:
    """The id of the task that an owner's client calls `name`: no two owners share one."""
    return f"{name}{_mark(owner)}"


@lru_cache(maxsize=10_000)
def _mark(owner: str) -> str:
    return f".{hashlib.sha256(owner.encode()).hexdigest()[:16]}"


def new_task_id() -> str:
    """A task id that nobody can guess."""
    return f"img_{secrets.token_urlsafe(20)}"


def new_batch_id() -> str:
    """A batch id that nobody can guess."""
    return f"batch_{secrets.token_urlsafe(20)}"


def read_task(task_id: str, fields: Mapping[str, str]) -> Task:
    """The task stored in these fields of a Redis hash."""
    result = fields.get("result")
    return Task(
        id=task_id,
        owner=fields["owner"],
        status=TaskStatus(fields["status"]),
        progress=int(fields["progress"]),
        request=json.loads(fields["request"]),
        batch_id=fields.get("batch") or None,
        callback_url=fields.get("callback") or None,
        created_at_s=int(fields["created"]) / 1000,
        updated_at_s=int(fields["updated"]) / 1000,
        started_at_s=int(fields["started"]) / 1000 if "started" in fields else None,
        result=TaskResult.model_validate_json(result) if result else None,
        error=fields.get("error", ""),
        cause=failure_cause(fields.get("cause", "")) if fields["status"] == TaskStatus.FAILED else None,
        deliveries=int(fields["deliveries"]),
        previews=int(fields.get("previews", 0)),
    )


_CAUSES = {cause.value: cause for cause in FailureCause}


def failure_cause(stored: str) -> FailureCause:
    """What a task has failed of; `other` if the version of us that ended it said nothing that this one knows."""
    return _CAUSES.get(stored, FailureCause.OTHER)


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """The fields of a hash that a script returned as one list of names and values."""
    return dict(zip(flat[::2], flat[1::2], strict=True))

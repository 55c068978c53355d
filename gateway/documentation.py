"""What /openapi.json says: the bodies as `parse_request` takes them, and the answers as `Answers` makes them."""

from typing import Any, Generic, Literal, TypeVar

from fastapi import FastAPI, Security
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from foundation.errors import FailureCause
from gateway.batch_items import OF_ALL
from models.request import AnyText, CallbackEvent, GenerationParams, GenerationRequest, Priority
from resources.queue import TaskStatus

T = TypeVar("T")

KEY = Security(APIKeyHeader(name="X-API-Key", auto_error=False, description="made by `imagegenx keys create`"))
IDEMPOTENT = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "The same key with the same body is one task; with another body it is a conflict (409).",
            "schema": {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"},
        }
    ]
}
LAST_EVENT = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "The id of the last event that the client has; after a task's last one the answer is 204.",
            "schema": {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"},
        }
    ]
}
_SCHEMA_REF = "#/components/schemas/{model}"


_OWN: dict[str, Any] = {name: (one.annotation, one) for name, one in GenerationRequest.model_fields.items()}
BatchItem = create_model(
    "BatchItem",
    __doc__="One request of a batch.",
    **{name: field for name, field in _OWN.items() if name not in OF_ALL},
)


class BatchRequest(BaseModel):
    """1 to 20 texts that share everything else, or 1 to 20 items that say what is their own."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["texts"]}, {"required": ["items"]}]})

    texts: list[AnyText] = Field(default=[], min_length=1, max_length=20)
    items: list[BatchItem] = Field(default=[], min_length=1, max_length=20)  # type: ignore[valid-type]
    model_type: str | None = Field(
        default=None, description="a model of GET /api/v1/models; the default one if left out"
    )
    params: GenerationParams = GenerationParams()
    callback_url: str | None = None
    callback_events: list[CallbackEvent] = Field(
        default=[], description="those to be told of; if empty, the end of the batch alone"
    )
    metadata: dict[str, str] = Field(default={}, description="of every request, beside its own")
    priority: Priority = Priority.INTERACTIVE


class BadField(BaseModel):
    """One broken rule; `field` is dotted, like params.steps."""

    field: str
    rule: str


class Problems(BaseModel):
    """Every broken rule of a request."""

    problems: list[BadField]


_HINT: Any = Field(default=None, description="that the prompt names nothing its model can paint, in its language")


class Submitted(BaseModel):
    """A queued task."""

    task_id: str
    status: TaskStatus
    progress: int = Field(ge=0, le=100)
    query_url: str = Field(description="a path of this service")
    hint: str | None = _HINT


class Deleted(BaseModel):
    """A task that is gone."""

    task_id: str


class DeletedAll(BaseModel):
    """All of a caller's tasks are gone."""

    tasks: int
    pictures: int
    left: int = Field(description="cancelled, but a worker still has them: ask again")


class SubmittedBatch(BaseModel):
    """A queued batch."""

    batch_task_id: str
    task_ids: list[str]
    total: int
    query_url: str = Field(description="a path of this service")


class Picture(BaseModel):
    """A finished picture; its URLs download without a header."""

    original_url: str
    thumb_url: str
    resolution: str = Field(description="W×H of the original, px")
    format: Literal["webp", "png", "jpg"]
    size: int = Field(description="of the original, bytes")
    seed: int
    recipe: dict[str, Any] | None = Field(description="everything that decides the pixels")


class Result(Picture):
    """The first picture, and all of them."""

    pictures: list[Picture]


class TaskState(BaseModel):
    """A task at this moment."""

    task_id: str
    status: TaskStatus
    progress: int = Field(ge=0, le=100, description="steps done over steps to do, %")
    created_at: float = Field(description="Unix time, s")
    started_at: float | None = Field(default=None, description="when a worker first had it, Unix time, s")
    ended_at: float | None = Field(default=None, description="Unix time, s")
    events_url: str | None = Field(default=None, description="its events, for EventSource; needs no header")
    queue_position: int | None = Field(default=None, description="by arrival, from 1; 0 while it is painted")
    eta_s: float | None = Field(default=None, description="until it should have ended, s, as far as that can be told")
    hint: str | None = _HINT
    result: Result | None = None
    error_msg: str | None = None
    error_code: FailureCause | None = Field(default=None, description="why it failed, for programs")
    metadata: dict[str, str] | None = Field(default=None, description="as the request gave it")


class ListedTask(TaskState):
    """A task with what was asked for."""

    text: str
    model_type: str
    params: dict[str, Any]
    image_url: str | None = Field(default=None, description="the input picture, as another request may name it")
    mask_url: str | None = None
    control_image_url: str | None = None
    controls: list[dict[str, Any]] | None = None


class TaskList(BaseModel):
    """A page of the caller's tasks."""

    tasks: list[ListedTask]
    next_before: str | None = Field(description="`before` of the next page; null on the last one")


class BatchState(BaseModel):
    """A batch at this moment."""

    batch_task_id: str
    total: int
    success_count: int
    failed_count: int
    waiting_count: int
    processing_count: int
    cancelled_count: int
    progress: int = Field(ge=0, le=100)
    tasks: list[TaskState]


class ModelState(BaseModel):
    """One model and what it can do."""

    name: str
    description: str
    description_zh: str
    examples: list[str] = Field(description="prompts that it paints well")
    state: Literal["loaded", "here", "fetching", "to_fetch"]
    modes: list[str]
    samplers: list[str]
    schedules: dict[str, list[str]] = Field(description="what can be asked for with each sampler")
    loras: list[str]
    controlnets: list[str] = Field(description="names that `controls` chooses by")
    min_side_px: int
    max_side_px: int
    max_pixels: int
    defaults: dict[str, Any]


class UnusableModel(BaseModel):
    """A model that cannot run here."""

    name: str
    reason: str


class Models(BaseModel):
    """All models."""

    models: list[ModelState]
    unusable: list[UnusableModel] = Field(description="not to be asked for, and why")
    default_model: str


class Mark(BaseModel):
    """One mark of a picture."""

    layer: Literal["c2pa", "iptc", "tc260", "invisible", "recipe"]
    valid: bool
    says: str = Field(description="or what is wrong, for people")
    value: str = Field(description="an id, a URI or a recipe, for programs")
    own: bool = Field(description="signed by this service")


class Verified(BaseModel):
    """What a picture's marks say, and what is known of it."""

    marks: list[Mark] = Field(description="empty: no marks found")
    records: list[dict[str, Any]] = Field(description="of the invisible mark; whole for who asked for the picture")
    lacks: list[str] = Field(description="what this service's policy asks for, and is not there or not valid")


class UsedState(BaseModel):
    """What was used in some time."""

    pictures: int
    gpu_s: float = Field(description="seconds of GPUs, also on pictures that came to nothing")
    bytes: int = Field(description="of the originals")
    cost: float = Field(description="GPU seconds times their price")


class LimitState(BaseModel):
    """One limit of a budget."""

    name: str = Field(description="like gpu_s_per_month")
    limit: float
    used: float
    asked: float = Field(description="what is queued, by what a picture took this month")
    left: float
    soft_reached: bool
    ends_in_s: int


class UsageState(BaseModel):
    """What a caller has used, and may."""

    user_id: str
    day: UsedState
    month: UsedState
    open_pictures: int = Field(description="asked for, and not made yet")
    limits: list[LimitState]
    price_per_gpu_s: float
    currency: str


class HealthState(BaseModel):
    """The state of the gateway and what it depends on."""

    status: Literal["healthy", "degraded", "unhealthy"]
    service: str
    version: str
    timestamp: float
    queue: dict[str, Any]
    store: dict[str, Any]
    workers: dict[str, Any]


class ProbeState(BaseModel):
    """Whether the gateway's process lives, or takes requests."""

    status: Literal["alive", "ready", "not ready"]


class Answer(BaseModel, Generic[T]):
    """What was asked for; `code` is the HTTP status."""

    code: int
    message: str
    data: T


class Refusal(BaseModel):
    """Why there is none; `code` is the HTTP status."""

    code: int
    message: str
    data: Problems | None


_REFUSALS: dict[int, str] = {
    400: "The body is malformed",
    401: "No API key",
    402: "Beyond the GPU seconds of the budget",
    403: "The API key is unknown or has expired",
    404: "No such thing, or not yours",
    408: "The form did not arrive in time",
    409: "The id or Idempotency-Key was used for other content",
    413: "The body is too large",
    422: "A bad field: `data.problems` names field and rule",
    429: "Over the key's QPS, or the pictures of the budget; see Retry-After",
    503: "The queue is full or cannot be reached; see Retry-After",
}


class _RequestSchema(GenerateJsonSchema):
    """Knows the types that only validate by a function."""

    def function_plain_schema(self, schema: core_schema.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        """A resolution, the only such type in a request."""
        return {"type": "string", "pattern": r"^\d{1,4}[×xX*]\d{1,4}$", "examples": ["512×512"]}


def described(data: str | type[BaseModel], extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """The documentation of a route that answers `data`: a model, or another content type."""
    content = {"content": {data: {"schema": {"type": "string"}}}}
    good: dict[str, Any] = content if isinstance(data, str) else {"model": Answer[data]}  # type: ignore[valid-type]
    refusals = {code: {"model": Refusal, "description": text} for code, text in _REFUSALS.items()}
    responses: dict[int, Any] = {200: {**good, "description": "Done"}, **refusals}
    if data == "image/*":
        responses[304] = {"description": "The caller has this picture: its header If-None-Match names it"}
        responses[416] = {**responses[422], "description": "The header Range asks for bytes that the picture has not"}
    if extra is LAST_EVENT:
        responses[204] = {"description": "The client has the task's last event"}
    return {"responses": responses, "response_model": None, "openapi_extra": extra or {}}


def json_body(name: str) -> dict[str, Any]:
    """The documentation of a JSON body whose model is in the components."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _ref(name)}}}}


def form_body(fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """The documentation of a form with files."""
    schema = {"type": "object", "properties": fields, "required": required, "additionalProperties": False}
    return {"multipart/form-data": {"schema": schema}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _SCHEMA_REF.format(model=name)}


_BY_MODEL = ("resolution", "steps", "cfg_scale", "sampler", "schedule", "step_cache")
"""The fields whose defaults a model's card says: GET /api/v1/models lists them."""
_FILE = {"type": "string", "format": "binary"}
_UPLOAD = form_body(
    {"request": {"type": "string", "description": "the JSON"}, "image": _FILE, "mask": _FILE, "control_image": _FILE},
    ["request"],
)
GENERATE_BODY = json_body("GenerationRequest")
GENERATE_BODY["requestBody"]["content"].update(_UPLOAD)
BATCH_BODY = json_body("BatchRequest")


def documented(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the app."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        document.setdefault("components", {}).setdefault("schemas", {}).update(_components())
        app.openapi_schema = document
    return app.openapi_schema


def request_properties() -> dict[str, Any]:
    """The schemas of a request's fields and, as `params.…`, of its parameters; without references to others."""
    components = _components()

    def inlined(schema: Any) -> Any:
        if isinstance(schema, dict):
            target = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
            return {name: inlined(value) for name, value in {**target, **schema}.items() if name != "$ref"}
        return [inlined(one) for one in schema] if isinstance(schema, list) else schema

    own, params = (components[name]["properties"] for name in ("GenerationRequest", "GenerationParams"))
    return inlined({**own, **{f"params.{name}": value for name, value in params.items()}})  # type: ignore[no-any-return]


def _components() -> dict[str, Any]:
    components: dict[str, Any] = {}
    for model in (GenerationRequest, BatchRequest):
        schema = model.model_json_schema(ref_template=_SCHEMA_REF, schema_generator=_RequestSchema)
        components.update(schema.pop("$defs", {}))
        components[model.__name__] = schema
    for name in ("GenerationRequest", "BatchItem"):
        components[name]["required"] = ["text"]
    for name in ("GenerationRequest", "BatchItem", "BatchRequest"):
        for field in ("params", "texts", "items"):
            components[name]["properties"].get(field, {}).pop("default", None)
    for name in _BY_MODEL:
        field = components["GenerationParams"]["properties"][name]
        del field["default"]
        field["description"] = f"{field.get('description', '')}; the model's default if left out".lstrip("; ")
    return components

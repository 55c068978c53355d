# Made by gateway/stubs/generate.py.
# ruff: noqa
# mypy: ignore-errors
# fmt: off
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitTaskRequest(_message.Message):
    __slots__ = ("task_id", "user_id", "api_key", "model_type", "text", "params", "image_url", "mask_url", "control_image_url", "callback_url", "priority", "controls", "metadata", "callback_events")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    MODEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    MASK_URL_FIELD_NUMBER: _ClassVar[int]
    CONTROL_IMAGE_URL_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_URL_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_EVENTS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    user_id: str
    api_key: str
    model_type: str
    text: str
    params: TaskParams
    image_url: str
    mask_url: str
    control_image_url: str
    callback_url: str
    priority: str
    controls: _containers.RepeatedCompositeFieldContainer[Control]
    metadata: _containers.ScalarMap[str, str]
    callback_events: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, task_id: _Optional[str] = ..., user_id: _Optional[str] = ..., api_key: _Optional[str] = ..., model_type: _Optional[str] = ..., text: _Optional[str] = ..., params: _Optional[_Union[TaskParams, _Mapping]] = ..., image_url: _Optional[str] = ..., mask_url: _Optional[str] = ..., control_image_url: _Optional[str] = ..., callback_url: _Optional[str] = ..., priority: _Optional[str] = ..., controls: _Optional[_Iterable[_Union[Control, _Mapping]]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., callback_events: _Optional[_Iterable[str]] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("model", "image", "weight", "start", "end")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: str
    weight: float
    start: float
    end: float
    def __init__(self, model: _Optional[str] = ..., image: _Optional[str] = ..., weight: _Optional[float] = ..., start: _Optional[float] = ..., end: _Optional[float] = ...) -> None: ...

class TaskParams(_message.Message):
    __slots__ = ("resolution", "steps", "cfg_scale", "sampler", "lora_name", "lora_weight", "post_process", "negative_text", "seed", "strength", "num_images", "schedule", "control_weight", "control_start", "control_end", "step_cache", "loras")
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    CFG_SCALE_FIELD_NUMBER: _ClassVar[int]
    SAMPLER_FIELD_NUMBER: _ClassVar[int]
    LORA_NAME_FIELD_NUMBER: _ClassVar[int]
    LORA_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    POST_PROCESS_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_TEXT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    NUM_IMAGES_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CONTROL_START_FIELD_NUMBER: _ClassVar[int]
    CONTROL_END_FIELD_NUMBER: _ClassVar[int]
    STEP_CACHE_FIELD_NUMBER: _ClassVar[int]
    LORAS_FIELD_NUMBER: _ClassVar[int]
    resolution: str
    steps: int
    cfg_scale: float
    sampler: str
    lora_name: str
    lora_weight: float
    post_process: PostProcess
    negative_text: str
    seed: int
    strength: float
    num_images: int
    schedule: str
    control_weight: float
    control_start: float
    control_end: float
    step_cache: str
    loras: _containers.RepeatedCompositeFieldContainer[Lora]
    def __init__(self, resolution: _Optional[str] = ..., steps: _Optional[int] = ..., cfg_scale: _Optional[float] = ..., sampler: _Optional[str] = ..., lora_name: _Optional[str] = ..., lora_weight: _Optional[float] = ..., post_process: _Optional[_Union[PostProcess, _Mapping]] = ..., negative_text: _Optional[str] = ..., seed: _Optional[int] = ..., strength: _Optional[float] = ..., num_images: _Optional[int] = ..., schedule: _Optional[str] = ..., control_weight: _Optional[float] = ..., control_start: _Optional[float] = ..., control_end: _Optional[float] = ..., step_cache: _Optional[str] = ..., loras: _Optional[_Iterable[_Union[Lora, _Mapping]]] = ...) -> None: ...

class Lora(_message.Message):
    __slots__ = ("name", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: float
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class PostProcess(_message.Message):
    __slots__ = ("super_resolution", "watermark", "format", "upscaler")
    SUPER_RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    UPSCALER_FIELD_NUMBER: _ClassVar[int]
    super_resolution: str
    watermark: Watermark
    format: str
    upscaler: str
    def __init__(self, super_resolution: _Optional[str] = ..., watermark: _Optional[_Union[Watermark, _Mapping]] = ..., format: _Optional[str] = ..., upscaler: _Optional[str] = ...) -> None: ...

class Watermark(_message.Message):
    __slots__ = ("enable", "text", "font", "color", "position", "transparency")
    ENABLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FONT_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TRANSPARENCY_FIELD_NUMBER: _ClassVar[int]
    enable: bool
    text: str
    font: str
    color: str
    position: str
    transparency: float
    def __init__(self, enable: _Optional[bool] = ..., text: _Optional[str] = ..., font: _Optional[str] = ..., color: _Optional[str] = ..., position: _Optional[str] = ..., transparency: _Optional[float] = ...) -> None: ...

class SubmitTaskResponse(_message.Message):
    __slots__ = ("code", "message", "task_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    task_id: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., task_id: _Optional[str] = ...) -> None: ...

class QueryTaskRequest(_message.Message):
    __slots__ = ("task_id", "api_key")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    api_key: str
    def __init__(self, task_id: _Optional[str] = ..., api_key: _Optional[str] = ...) -> None: ...

class QueryTaskResponse(_message.Message):
    __slots__ = ("code", "message", "status")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    status: TaskStatus
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., status: _Optional[_Union[TaskStatus, _Mapping]] = ...) -> None: ...

class TaskStatus(_message.Message):
    __slots__ = ("task_id", "status", "progress", "original_url", "thumb_url", "error_msg", "pictures", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_URL_FIELD_NUMBER: _ClassVar[int]
    THUMB_URL_FIELD_NUMBER: _ClassVar[int]
    ERROR_MSG_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    status: str
    progress: int
    original_url: str
    thumb_url: str
    error_msg: str
    pictures: _containers.RepeatedCompositeFieldContainer[Picture]
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, task_id: _Optional[str] = ..., status: _Optional[str] = ..., progress: _Optional[int] = ..., original_url: _Optional[str] = ..., thumb_url: _Optional[str] = ..., error_msg: _Optional[str] = ..., pictures: _Optional[_Iterable[_Union[Picture, _Mapping]]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Picture(_message.Message):
    __slots__ = ("original_url", "thumb_url", "resolution", "format", "size", "seed")
    ORIGINAL_URL_FIELD_NUMBER: _ClassVar[int]
    THUMB_URL_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    original_url: str
    thumb_url: str
    resolution: str
    format: str
    size: int
    seed: int
    def __init__(self, original_url: _Optional[str] = ..., thumb_url: _Optional[str] = ..., resolution: _Optional[str] = ..., format: _Optional[str] = ..., size: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class QueryGPULoadRequest(_message.Message):
    __slots__ = ("api_key",)
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    def __init__(self, api_key: _Optional[str] = ...) -> None: ...

class QueryGPULoadResponse(_message.Message):
    __slots__ = ("code", "message", "gpu_loads")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    GPU_LOADS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    gpu_loads: _containers.RepeatedCompositeFieldContainer[GPULoad]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., gpu_loads: _Optional[_Iterable[_Union[GPULoad, _Mapping]]] = ...) -> None: ...

class GPULoad(_message.Message):
    __slots__ = ("device_id", "utilization", "memory_used", "memory_total")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_FIELD_NUMBER: _ClassVar[int]
    device_id: int
    utilization: float
    memory_used: float
    memory_total: float
    def __init__(self, device_id: _Optional[int] = ..., utilization: _Optional[float] = ..., memory_used: _Optional[float] = ..., memory_total: _Optional[float] = ...) -> None: ...

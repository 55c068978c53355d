"""The generation request of catalogs, queue, HTTP and gRPC; `models.admission` lets it in."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
)

from foundation.problems import shown
from foundation.value_object import ValueObject
from models.control import MAX_CONTROLS, ControlWeight, Lead, Share, after_start
from models.lora import MAX_LORAS, LoraChoice, LoraWeight, repeated
from models.resolution import Resolution
from models.sampler import Sampler as Sampler
from models.sampler import Schedule as Schedule
from models.sampler import StepCache as StepCache

MAX_SEED = 2**53 - 1
"""Seeds survive JSON and spreadsheets: no larger than an exact double."""

MAX_IMAGES = 16
"""Pictures of one request."""
DEFAULT_RESOLUTION = Resolution(512, 512)
DEFAULT_CFG_SCALE = 7.5
WEBP_MAX_SIDE_PX = 16_383
"""What the format's headers can say (RFC 9649)."""
MAX_FINISHED_PIXELS = 178_000_000
"""More than that Pillow does not open again, so that no later stage could work on the picture."""
FACTORS = {"": 1, "2x": 2, "4x": 4}
"""How much larger super-resolution makes the sides of a picture."""


class Mode(StrEnum):
    """Which pipeline runs; follows from the input pictures given."""

    TEXT2IMG = "text2img"
    IMG2IMG = "img2img"
    INPAINT = "inpaint"
    CONTROLNET = "controlnet"


class Priority(StrEnum):
    """Interactive requests go before bulk ones."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


def _at_most(most: int, what: str) -> BeforeValidator:
    """So many of a list, counted before any of them is looked at: each has rules to break."""

    def counted(value: object) -> object:
        if isinstance(value, list | tuple) and len(value) > most:
            raise ValueError(f"{len(value):,} {what} are above the maximum of {most}")
        return value

    return BeforeValidator(counted)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character")
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("blank, but must say something")
    return text


def _hex_color(text: str) -> str:
    parts = re.fullmatch(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*", text, re.ASCII)
    if parts and all(int(part) <= 255 for part in parts.groups()):
        return "#" + "".join(f"{int(part):02X}" for part in parts.groups())
    if re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        return text.upper()
    raise ValueError(f"{shown(text)} is neither #RRGGBB nor r,g,b with 0 to 255 each")


def _jpg(value: object) -> object:
    return "jpg" if value == "jpeg" else value


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


StrictStr = Annotated[str, Strict()]
StrictInt = Annotated[int, Strict()]
StrictFloat = Annotated[float, Strict()]
StrictBool = Annotated[bool, Strict()]
MAX_TEXT = 10_000
"""Characters of a prompt."""
AnyText = Annotated[StrictStr, Field(max_length=MAX_TEXT), AfterValidator(_without_nul)]
Prompt = Annotated[AnyText, AfterValidator(_not_blank)]
ShortText = Annotated[StrictStr, Field(max_length=1_000), AfterValidator(_without_nul)]
ModelName = Annotated[ShortText, AfterValidator(partial(unicodedata.normalize, "NFC"))]
"""Composed: file systems and keyboards give the same name in two forms (Unicode annex 15)."""
Url = Annotated[
    Annotated[StrictStr, Field(max_length=4_096), AfterValidator(_without_nul)] | None, BeforeValidator(_blank_is_none)
]
MetadataName = Annotated[StrictStr, Field(min_length=1, max_length=64), AfterValidator(_without_nul)]
MetadataValue = Annotated[StrictStr, Field(max_length=512), AfterValidator(_without_nul)]
Steps = Annotated[StrictInt, Field(ge=1, le=200)]
CfgScale = Annotated[StrictFloat, Field(ge=0, le=30)]
Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
Strength = Annotated[StrictFloat, Field(gt=0, le=1)]
ImageFormat = Literal["webp", "png", "jpg"]
Scale = Literal["2x", "4x"]
Position = Literal["top-left", "top-right", "bottom-left", "bottom-right", "center", "tile"]


class WatermarkParams(ValueObject):
    """The mark drawn on a finished picture."""

    enable: StrictBool = False
    type: Literal["text", "image"] = "text"
    text: Annotated[ShortText, Field(validate_default=True)] = ""
    font: ShortText = Field(default="", description="name or path of a font; the built-in one if empty")
    color: Annotated[StrictStr, AfterValidator(_hex_color)] = "#FFFFFF"
    position: Position = "bottom-right"
    transparency: Annotated[StrictFloat, Field(ge=0, le=1, description="opacity of the mark")] = 0.7
    font_size: Annotated[StrictInt, Field(ge=4, le=2_000)] | None = Field(
        default=None, description="px; width/20, at least 12, if not given"
    )
    margin: Annotated[StrictInt, Field(ge=0, le=10_000, description="px from the edges")] = 20
    image_path: Annotated[ShortText, Field(validate_default=True)] = ""
    scale: Annotated[StrictFloat, Field(gt=0, le=1, description="logo width over picture width")] = 0.15

    @field_validator("text", "image_path")
    @classmethod
    def _mark_has_something(cls, value: str, info: ValidationInfo) -> str:
        kind = "text" if info.field_name == "text" else "image"
        if info.data.get("enable") and info.data.get("type") == kind and not value.strip():
            raise ValueError(f"required by {'a text' if kind == 'text' else 'an image'} watermark, but blank")
        return value


MARK_FIELDS = {"text": ("text", "font", "color", "font_size"), "image": ("image_path", "scale")}
"""What only marks of a type have."""


class PostProcess(ValueObject):
    """What happens to a picture after it is generated."""

    super_resolution: Literal["", "2x", "4x"] = ""
    upscaler: ShortText = Field(default="", description="the network of super_resolution; the default one if empty")
    watermark: WatermarkParams = WatermarkParams()
    format: Annotated[ImageFormat, BeforeValidator(_jpg)] = "webp"

    @field_validator("upscaler")
    @classmethod
    def _upscaler_has_work(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("super_resolution") == "":
            raise ValueError(f"{shown(value)} has nothing to do without super_resolution. Ask for 2x or 4x")
        return value


CONTROL_FIELDS = ("control_weight", "control_start", "control_end")
"""The parameters that say how a ControlNet leads."""


class GenerationParams(ValueObject):
    """The parameters of one request; INTERFACES.md §1."""

    resolution: Resolution = DEFAULT_RESOLUTION
    steps: Steps = 50
    cfg_scale: CfgScale = Field(default=DEFAULT_CFG_SCALE, description="guidance; 1 and below mean none")
    sampler: Sampler = Sampler.EULER
    schedule: Annotated[Schedule | None, BeforeValidator(_blank_is_none)] = Field(
        default=None,
        description="how the steps lie over the noise levels",
    )
    step_cache: Annotated[StepCache | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, description="faster steps for a picture a little other than the model's"
    )
    lora_name: ShortText = ""
    lora_weight: LoraWeight = 1.0
    loras: Annotated[tuple[LoraChoice, ...], Field(max_length=MAX_LORAS), _at_most(MAX_LORAS, "LoRAs")] = Field(
        default=(), description="several LoRAs at once; lora_name is the short form for one"
    )
    post_process: PostProcess = PostProcess()
    negative_text: AnyText = ""
    seed: Seed | None = Field(default=None, description="drawn at random and recorded if not given")
    strength: Strength = Field(default=0.75, description="how far img2img and inpaint leave the input picture")
    control_weight: ControlWeight = Field(default=1.0, description="how strongly a ControlNet leads")
    control_start: Share = Field(default=0.0, description="part of the steps before a ControlNet leads")
    control_end: Annotated[Share, Field(validate_default=True)] = Field(
        default=1.0, description="part of the steps after which it leads no more"
    )
    num_images: Annotated[StrictInt, Field(ge=1, le=MAX_IMAGES)] = 1

    _control_has_a_step = field_validator("control_end")(after_start)

    @field_validator("loras")
    @classmethod
    def _each_lora_once(cls, value: tuple[LoraChoice, ...], info: ValidationInfo) -> tuple[LoraChoice, ...]:
        if value and info.data.get("lora_name"):
            raise ValueError("given beside lora_name. Name all LoRAs in loras")
        if name := repeated(value):
            raise ValueError(f"{shown(name)} twice. Give each LoRA once, with its weight")
        return value

    @property
    def chosen_loras(self) -> tuple[LoraChoice, ...]:
        """All LoRAs of the request, whichever way it names them."""
        one = (LoraChoice(name=self.lora_name, weight=self.lora_weight),) if self.lora_name else ()
        return self.loras or one

    @field_validator("post_process")
    @classmethod
    def _finished_picture_can_be_stored(cls, value: PostProcess, info: ValidationInfo) -> PostProcess:
        if size := info.data.get("resolution"):
            scale = FACTORS[value.super_resolution]
            width_px, height_px = size.width_px * scale, size.height_px * scale
            if width_px * height_px > MAX_FINISHED_PIXELS:
                raise ValueError(
                    f"{width_px}×{height_px} after super-resolution is above {MAX_FINISHED_PIXELS:,} pixels. "
                    "Ask for a smaller resolution or less super-resolution."
                )
            if value.format == "webp" and max(width_px, height_px) > WEBP_MAX_SIDE_PX:
                raise ValueError(
                    f"{width_px}×{height_px} after super-resolution is above the {WEBP_MAX_SIDE_PX} px that a side "
                    "of a WebP file can have. Use format png or jpg."
                )
        return value


class ControlChoice(Lead):
    """A ControlNet and the picture that it follows."""

    image: Annotated[Prompt, Field(max_length=4_096)]


class CallbackEvent(StrEnum):
    """What a callback can tell of."""

    TASK_SUCCESS = "task.success"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    BATCH_ENDED = "batch.ended"


INPUT_FIELDS = ("image_url", "mask_url", "control_image_url")
"""The fields of a request that name its input pictures, beside those of its `controls`."""
STORED = "store:"
"""Begins a reference to an input picture in the object store; its key follows. Never accepted from outside."""


class GenerationRequest(ValueObject):
    """One request for pictures. `parse_request` makes it from outside data and also checks the model's own limits."""

    text: Prompt
    model_type: ModelName
    params: GenerationParams = GenerationParams()
    image_url: Url = None
    mask_url: Url = None
    control_image_url: Url = None
    controls: Annotated[
        tuple[ControlChoice, ...], Field(max_length=MAX_CONTROLS), _at_most(MAX_CONTROLS, "control pictures")
    ] = Field(default=(), description="several ControlNets at once; control_image_url is the short form for one")
    callback_url: Url = None
    callback_events: tuple[CallbackEvent, ...] = Field(
        default=(), description="those to be told of; if empty, the end of the task, or of the batch"
    )
    metadata: Annotated[dict[MetadataName, MetadataValue], Field(max_length=16)] = Field(
        default={}, description="the caller's own words, which answers and callbacks repeat"
    )
    priority: Priority = Priority.INTERACTIVE

    @field_validator("mask_url")
    @classmethod
    def _mask_has_image(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and "image_url" in info.data and not info.data["image_url"]:
            raise ValueError("a mask needs image_url as well")
        return value

    @field_validator("control_image_url", "controls")
    @classmethod
    def _controls_are_alone(cls, value: object, info: ValidationInfo) -> object:
        if value and (info.data.get("image_url") or info.data.get("mask_url")):
            raise ValueError("cannot be combined with image_url or mask_url")
        if value and info.data.get("control_image_url"):
            raise ValueError("given beside control_image_url. Name all control pictures in controls")
        return value

    @field_validator("callback_events")
    @classmethod
    def _events_have_a_receiver(
        cls, value: tuple[CallbackEvent, ...], info: ValidationInfo
    ) -> tuple[CallbackEvent, ...]:
        if value and "callback_url" in info.data and not info.data["callback_url"]:
            raise ValueError("nobody is told of them without callback_url. Give one, or leave them out")
        return value

    @property
    def chosen_controls(self) -> tuple[ControlChoice, ...]:
        """All ControlNets of the request, whichever way it names them."""
        if not self.control_image_url:
            return self.controls
        params = self.params
        start, end = params.control_start, params.control_end
        return (ControlChoice(image=self.control_image_url, weight=params.control_weight, start=start, end=end),)

    @property
    def inputs(self) -> tuple[str | None, ...]:
        """What names the image, the mask and the control pictures."""
        return self.image_url, self.mask_url, *(control.image for control in self.chosen_controls)

    @property
    def mode(self) -> Mode:
        """The pipeline that the input pictures ask for."""
        return mode_of(dict(self))


def mode_of(inputs: Mapping[str, object]) -> Mode:
    """The mode that the input pictures of a request, or of what may become one, ask for."""
    if inputs.get("control_image_url") or inputs.get("controls"):
        return Mode.CONTROLNET
    if inputs.get("mask_url"):
        return Mode.INPAINT
    return Mode.IMG2IMG if inputs.get("image_url") else Mode.TEXT2IMG


def input_references(data: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """What a request's data, perhaps not validated, says in each field that may name an input picture.

    Fields are dotted: `image_url`, `controls.0.image`.
    """
    yield from ((name, data.get(name)) for name in INPUT_FIELDS)
    controls = data.get("controls")
    for place, one in enumerate(controls[:MAX_CONTROLS] if isinstance(controls, list | tuple) else ()):
        if isinstance(one, Mapping):
            yield f"controls.{place}.image", one.get("image")


def with_references(data: Mapping[str, object], references: Mapping[str, str | None]) -> dict[str, Any]:
    """The data with these in the fields that `input_references` yields; None takes one out."""
    changed: dict[str, Any] = dict(data)
    for field, reference in references.items():
        inside, place, _ = (*field.split("."), "", "")[:3]
        if not place:
            changed[field] = reference
        else:
            controls = list(changed[inside])
            controls[int(place)] = {**controls[int(place)], "image": reference}
            changed[inside] = controls
    return changed

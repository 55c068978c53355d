"""The recipe of a picture: everything that decides its pixels, and the digest it is stored under."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from foundation.problems import Problem, validation_problems
from foundation.value_object import ValueObject
from models.control import MAX_CONTROLS, ControlPreprocess, ControlWeight, Lead, PinnedControl, Share
from models.errors import InvalidRequestError
from models.lora import MAX_LORAS, LoraChoice, LoraWeight, PinnedLora
from models.request import (
    CONTROL_FIELDS,
    AnyText,
    CfgScale,
    Mode,
    Prompt,
    Sampler,
    Schedule,
    Seed,
    ShortText,
    StepCache,
    Steps,
    Strength,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)
from models.resolution import ANY_MODEL, Resolution

Side = Annotated[StrictInt, Field(ge=ANY_MODEL.min_side_px, le=ANY_MODEL.max_side_px, multiple_of=8)]
InputDigest = Annotated[StrictStr, Field(pattern="^[0-9a-f]{64}$")]
INPUT_READING = "2"
"""How input pictures become pixels here, and masks part them; another one wherever that gives other pictures.

The first, which recipes do not name, took no notice of colour profiles, and of no mask's alpha and thin strokes.
"""
_NOT_BY_ALL = ("control_preprocess", "schedule", "step_cache", "input_reading", "loras", "controls", *CONTROL_FIELDS)


class PostStep(ValueObject):
    """One change made to a generated picture; `uses` is the digest of the network, logo or font it is made with."""

    op: Literal["upscale", "watermark", "mark", "thumbnail"]
    params: dict[str, StrictStr | StrictBool | StrictInt | StrictFloat | None] = Field(default={})
    uses: StrictStr = ""


class Recipe(ValueObject):
    """Everything that decides the pixels of one picture."""

    text: Prompt
    negative_text: AnyText
    model: ShortText
    release: StrictStr = Field(description="digest of the model's files")
    engine: StrictStr = Field(description="how it was computed, like eager/cpu/float32")
    mode: Mode
    width_px: Side
    height_px: Side
    steps: Steps
    cfg_scale: CfgScale
    sampler: Sampler
    schedule: Schedule | None = Field(default=None, description="the sampler's and the model's own if not given")
    step_cache: StepCache | None = Field(default=None, description="see the request's params")
    seed: Seed
    lora_name: ShortText
    lora_weight: LoraWeight
    lora_digest: StrictStr
    loras: Annotated[tuple[PinnedLora, ...], Field(min_length=2, max_length=MAX_LORAS)] | None = Field(
        default=None, description="several LoRAs, by name; a single one is in the fields above"
    )
    strength: Strength | None
    image_digest: InputDigest | None
    mask_digest: InputDigest | None
    control_digest: InputDigest | None
    control_preprocess: ControlPreprocess | None = Field(default=None, description="see the model card")
    control_weight: ControlWeight | None = Field(default=None, description="1 if not given")
    control_start: Share | None = Field(default=None, description="0 if not given")
    control_end: Share | None = Field(default=None, description="1 if not given")
    controls: Annotated[tuple[PinnedControl, ...], Field(min_length=1, max_length=MAX_CONTROLS)] | None = Field(
        default=None, description="several, or a named one, in order; a single one of no name is in the fields above"
    )
    input_reading: StrictStr | None = Field(default=None, description="how its input pictures are read")
    post: tuple[PostStep, ...] = ()

    @property
    def pinned_loras(self) -> tuple[PinnedLora, ...]:
        """All LoRAs that it is made with."""
        if self.loras:
            return self.loras
        if not self.lora_name:
            return ()
        return (PinnedLora(name=self.lora_name, weight=self.lora_weight, digest=self.lora_digest),)

    @property
    def step_cache_interval(self) -> int:
        """One in so many steps is computed whole."""
        return int(self.step_cache.rpartition("-")[2]) if self.step_cache else 1

    @property
    def pinned_controls(self) -> tuple[PinnedControl, ...]:
        """All ControlNets that lead it."""
        if self.controls or not self.control_digest:
            return self.controls or ()
        given = {name: getattr(self, f"control_{name}") for name in ("digest", "preprocess", "weight", "start", "end")}
        return (PinnedControl(**{name: value for name, value in given.items() if value is not None}),)

    @property
    def input_digests(self) -> tuple[str, ...]:
        """Those of the pictures that it is made from, beside a mask."""
        image = (self.image_digest,) if self.image_digest else ()
        return (*image, *(control.digest for control in self.pinned_controls))

    @property
    def has_inputs(self) -> bool:
        """Whether it is made from an input picture."""
        return bool(self.input_digests)

    @cached_property
    def digest(self) -> str:
        """The sha256, in hex, of the canonical JSON of this recipe."""
        return hashlib.sha256(self._canonical.encode()).hexdigest()

    @property
    def size(self) -> Resolution:
        """The size of the generated picture, before any post-processing."""
        return Resolution(self.width_px, self.height_px)

    def with_step(self, step: PostStep) -> "Recipe":
        """The recipe of this picture after one more change."""
        return self.model_copy(update={"post": (*self.post, step)})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> "Recipe":
        """See pydantic; itself where nothing changes. What is computed once of each recipe is not copied with it."""
        if not deep and all(getattr(self, name) == value for name, value in (update or {}).items()):
            return self
        copied = super().model_copy(update=update, deep=deep)
        for name in ("_canonical", "digest"):
            copied.__dict__.pop(name, None)
        return copied

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces, so that equal recipes are equal texts.

        What only some recipes say is left out of the others, whose digests are older than it.
        """
        return self._canonical

    @cached_property
    def _canonical(self) -> str:
        unsaid = {name for name in _NOT_BY_ALL if getattr(self, name) is None}
        data = self.model_dump(mode="json", exclude=unsaid)
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Recipe":
        """The recipe written by `to_json`; InvalidRequestError lists everything that is wrong with it."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise InvalidRequestError([Problem("", f"the recipe is not JSON: {exc}")]) from exc
        try:
            return cls.model_validate(data)
        except ValidationError as exc:
            raise InvalidRequestError(validation_problems(exc, cls)) from None


def lora_fields(loras: Iterable[LoraChoice], digest: Callable[[str], str]) -> dict[str, Any]:
    """The fields of a recipe that name these LoRAs: in one order, and a single one as recipes have always named it.

    Args:
        digest: gives that of a LoRA's file.
    """
    pinned = [PinnedLora(name=one.name, weight=one.weight, digest=digest(one.name)) for one in loras]
    several = tuple(sorted(pinned, key=lambda one: one.name)) if len(pinned) > 1 else None
    name, weight, one_digest = ("", 1.0, "") if several or not pinned else tuple(dict(pinned[0]).values())
    return {"lora_name": name, "lora_weight": weight, "lora_digest": one_digest, "loras": several}


def control_fields(controls: Sequence[PinnedControl]) -> dict[str, Any]:
    """The fields of a recipe that name these ControlNets: a single one of no name as recipes have always named it.

    What is usual is left out, so that the digests of such recipes are as old as they are.
    """
    if len(controls) > 1 or any(control.model for control in controls):
        return {"controls": tuple(controls), "control_digest": None, "control_preprocess": None}
    fields: dict[str, Any] = {"control_digest": None, "control_preprocess": None}
    for name, value in (item for control in controls for item in control if item[0] != "model"):
        usual = name in ("weight", "start", "end") and value == Lead.model_fields[name].default
        fields[f"control_{name}"] = None if usual else value
    return fields

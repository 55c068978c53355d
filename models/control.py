"""How ControlNets lead a picture: as requests say it, and as recipes pin it."""

from typing import Annotated, Literal

from pydantic import Field, Strict, ValidationInfo, field_validator

from foundation.value_object import ValueObject

MAX_CONTROLS = 4
"""Control pictures of one request."""

ControlPreprocess = Literal["none", "canny", "auto"]
ControlWeight = Annotated[float, Strict(), Field(ge=0, le=2)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
ControlName = Annotated[str, Strict(), Field(max_length=1_000, pattern=r"^[^\x00]*$")]


def after_start(value: float, info: ValidationInfo) -> float:
    """An end, if it is after the start given beside it."""
    start = "control_start" if "control_start" in info.data else "start"
    if value <= info.data.get(start, 0.0):
        raise ValueError(f"{value:g} is not after {start}. Give a later end, or an earlier start")
    return value


class Lead(ValueObject):
    """A ControlNet of the model's card, and how strongly and when it leads."""

    model: ControlName = Field(default="", description="a name of the card's controlnets; empty for its controlnet")
    weight: ControlWeight = Field(default=1.0, description="how strongly it leads")
    start: Share = Field(default=0.0, description="part of the steps before it leads")
    end: Annotated[Share, Field(validate_default=True)] = Field(
        default=1.0, description="part of the steps after which it leads no more"
    )

    _end_is_later = field_validator("end")(after_start)

    def scale(self, done: int, total: int) -> float:
        """How strongly it leads the step after `done` of `total`; as diffusers says which steps those are."""
        return self.weight if done / total >= self.start and (done + 1) / total <= self.end else 0.0


class ControlNetChoice(ValueObject):
    """A ControlNet of a card, a folder or a .safetensors file, and what is done to the pictures that it gets."""

    source: Annotated[str, Strict(), Field(min_length=1)]
    preprocess: ControlPreprocess = "none"


class PinnedControl(Lead):
    """One with the digest of its picture, and what was done to that."""

    digest: Annotated[str, Strict(), Field(pattern="^[0-9a-f]{64}$")]
    preprocess: ControlPreprocess = "none"

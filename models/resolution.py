"""Picture sizes and the limits they must keep."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from foundation.problems import shown

MULTIPLE_PX = 8
"""Sides are multiples of this: the VAEs of all families shrink pictures 8×."""

_SIDES = re.compile(r"\s*(\d{1,6})\s*[×xX*]\s*(\d{1,6})\s*", re.ASCII)


@dataclass(frozen=True)
class SizeLimits:
    """The picture sizes something can make; sides in px, `max_pixels` is an area."""

    min_side_px: int = 64
    max_side_px: int = 4096
    max_pixels: int = 4096 * 4096
    multiple_px: int = MULTIPLE_PX

    def problem(self, width_px: int, height_px: int, subject: str = "") -> str | None:
        """What is wrong with a size, with the nearest good one; None if nothing. `subject` is like ` for model 'x'`."""
        rule = self._broken_rule(width_px, height_px)
        if rule is None:
            return None
        width, height = self.nearest(width_px, height_px)
        return f"width {width_px}, height {height_px}{subject}: {rule}. Nearest: {width}×{height}."

    def nearest(self, width_px: int, height_px: int) -> tuple[int, int]:
        """The closest allowed size, the aspect ratio kept where the area must shrink."""
        width, height = self._clamp(width_px), self._clamp(height_px)
        if width * height > self.max_pixels:
            shrink = math.sqrt(self.max_pixels / (width * height))
            width, height = self._clamp(width * shrink, math.floor), self._clamp(height * shrink, math.floor)
        if width * height > self.max_pixels:  # one side was held up by the minimum: the other gives way
            longest = self.max_pixels // min(width, height) // self.multiple_px * self.multiple_px
            width, height = min(width, longest), min(height, longest)
        return width, height

    def _broken_rule(self, width_px: int, height_px: int) -> str | None:
        if width_px % self.multiple_px or height_px % self.multiple_px:
            return f"both must be multiples of {self.multiple_px}"
        if not all(self.min_side_px <= side <= self.max_side_px for side in (width_px, height_px)):
            return f"both must be from {self.min_side_px} to {self.max_side_px} px"
        if width_px * height_px > self.max_pixels:
            return f"{width_px * height_px:,} pixels are above the maximum of {self.max_pixels:,}"
        return None

    def _clamp(self, side: float, rounded: Callable[[float], int] = round) -> int:
        lowest = -(-self.min_side_px // self.multiple_px) * self.multiple_px
        highest = self.max_side_px // self.multiple_px * self.multiple_px
        return min(max(rounded(side / self.multiple_px) * self.multiple_px, lowest), highest)


ANY_MODEL = SizeLimits()
"""What every request must keep, whatever its model."""


def parse_sides(text: object) -> tuple[int, int]:
    """Width and height in px written as `512×512` (`x`, `X` and `*` do as well); ValueError if it is anything else."""
    match = _SIDES.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{shown(text)} is not a size like 512×512")
    return int(match[1]), int(match[2])


@dataclass(frozen=True, order=True)
class Resolution:
    """Width and height of a picture in px: multiples of 8, 64 to 4096; ValueError otherwise."""

    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        problem = ANY_MODEL.problem(self.width_px, self.height_px)
        if problem:
            raise ValueError(problem)

    @classmethod
    def parse(cls, text: object) -> "Resolution":
        """The resolution written as `512×512`; ValueError with the nearest good one if it breaks a rule."""
        return text if isinstance(text, Resolution) else cls(*parse_sides(text))

    def __str__(self) -> str:
        return f"{self.width_px}×{self.height_px}"

    @property
    def key(self) -> str:
        """The resolution in ASCII, for object keys and file names: `512x512`."""
        return f"{self.width_px}x{self.height_px}"

    @property
    def pixels(self) -> int:
        """The area in pixels."""
        return self.width_px * self.height_px

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

"""Settings of the log lines that processes write."""

from typing import Literal

from pydantic import Field

from foundation.value_object import ValueObject


class LogSettings(ValueObject):
    """What gateway, serving runs and commands write to standard error."""

    format: Literal["text", "json"] = Field(default="text", description="lines for people, or one JSON object a line")
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least grave lines of ImageGenX that are written; of libraries, warnings"
    )

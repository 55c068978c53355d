"""The base of typed data: immutable, no unknown fields, finite numbers; and paths that are named."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _named(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("an empty path; name a folder or file, or leave the setting out")
    return value


NamedPath = Annotated[Path, BeforeValidator(_named)]
"""A path as somebody wrote it: an empty one is a variable that was not filled in, never the working folder."""


class ValueObject(BaseModel):
    """Data that is checked when it is made and never changes after."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

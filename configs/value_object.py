"""The base of typed data: immutable, no unknown fields, finite numbers."""

from pydantic import BaseModel, ConfigDict


class ValueObject(BaseModel):
    """Data that is checked when it is made and never changes after."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

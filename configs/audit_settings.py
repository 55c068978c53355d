"""Settings of the audit log."""

from pathlib import Path

from pydantic import Field

from foundation.value_object import ValueObject


class AuditSettings(ValueObject):
    """Where it is kept who did what that others may ask about, and how much of it."""

    folder: Path = Field(default=Path("audit"), description="folder of the audit log, audit.jsonl; relative to home")
    max_bytes: int = Field(default=20_000_000, ge=10_000, description="a file of it is closed at this size, bytes")
    files: int = Field(default=10, ge=1, le=1000, description="closed files that are kept; older ones are removed")

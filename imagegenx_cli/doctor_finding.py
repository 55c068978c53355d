"""What a check of `imagegenx doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum

from foundation.logs import without_secrets


class State(StrEnum):
    """Works; works but worth knowing, or not in use; does not work though it is configured."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """What a check found, and what to do about it."""

    check: str
    state: State
    found: str
    remedy: str = ""

    def as_data(self) -> dict[str, str]:
        """The finding for JSON."""
        found = without_secrets(self.found)
        return {"check": self.check, "state": self.state.value, "found": found, "remedy": self.remedy}

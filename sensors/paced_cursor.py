"""A cursor with the time of the last look: the interval is a setting, and definitions load without reading settings."""

import time
from dataclasses import dataclass

_ROUND_S = 0.5
"""A look that falls due so shortly after the daemon's round belongs to that round."""


@dataclass(frozen=True)
class PacedCursor:
    """When a sensor last looked, by the clock, and what it remembers."""

    looked_at_s: float = 0.0
    memory: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "PacedCursor":
        """The cursor that `next` wrote; an empty one before the first look."""
        looked_at_s, _, memory = (cursor or "0\n").partition("\n")
        return cls(float(looked_at_s), memory)

    def is_due(self, interval_s: float) -> bool:
        """Whether the last look is `interval_s` ago."""
        return not 0 <= time.time() - self.looked_at_s < interval_s - _ROUND_S

    @staticmethod
    def next(memory: str) -> str:
        """The cursor of a look that is made now."""
        return f"{time.time():.3f}\n{memory}"

"""Watching the engine: one that hangs is noticed, though the heartbeat goes on beside it."""

import threading
import time


class EngineWatch:
    """How long the engine has been silent over the pictures it has. Safe for threads."""

    def __init__(self) -> None:
        self._pictures = 0
        self._heard_at_s = time.monotonic()
        self._lock = threading.Lock()

    def submitted(self) -> None:
        """The engine has one more picture to make."""
        self._count(1)

    def stepped(self) -> None:
        """It has done a step."""
        self._heard_at_s = time.monotonic()

    def ended(self) -> None:
        """It has one picture less; this may be said before `submitted`."""
        self._count(-1)

    def silent_s(self) -> float:
        """Seconds since its last sign of life; 0 if it has nothing to do."""
        return time.monotonic() - self._heard_at_s if self._pictures > 0 else 0.0

    def _count(self, change: int) -> None:
        with self._lock:
            if self._pictures <= 0 or change < 0:
                self._heard_at_s = time.monotonic()
            self._pictures += change

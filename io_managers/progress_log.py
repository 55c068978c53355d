"""How far an image set is, as lines in the log of the run that makes it."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from io_managers.image_set import Status

logger = logging.getLogger(__name__)

T = TypeVar("T")

_RATE_OVER_S = 60.0


class ProgressLog:
    """Counts rows, and says every `every_s` seconds how many are made, wait and failed, and how long it takes yet.

    The lines come from a thread of its own: also while nothing is made, as while a model loads.

    Args:
        say: takes a line; called in another thread.
        total: rows in all.
        tell: takes the counts by status, the total among them, as often; the last time, None: it has ended
            (also what a killed run told before).
    """

    def __init__(
        self,
        say: Callable[[str], object],
        asset: str,
        total: int,
        every_s: float,
        tell: Callable[[Mapping[str, int] | None], object] = lambda counts: None,
    ) -> None:
        self._say, self._asset, self._total, self._every_s = say, asset, total, every_s
        self._tell = tell
        self._counts: Counter[Status] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="progress", daemon=True)
        self._history = deque([(time.monotonic(), 0)])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._try(self._tell, None)

    def count(self, status: Status) -> None:
        """One more row has this status."""
        self._counts[status] += 1

    def line(self) -> str:
        """Where it stands, with the rate of the last minute."""
        counts = dict(self._counts)
        done = sum(counts.values())
        per_minute = self._per_minute(done)
        parts = [f"{counts.pop(Status.MADE, 0):,} of {self._total:,} made"]
        parts += [f"{count:,} {status}" for status, count in counts.items() if count]
        parts.append(f"{self._total - done:,} waiting")
        speed = f"{per_minute:,.0f} a minute, {_span((self._total - done) * 60 / per_minute)}" if per_minute else ""
        return f"{self._asset}: {', '.join(parts)}; {speed or 'none finished in the last minute'}."

    def _per_minute(self, done: int) -> float:
        now = time.monotonic()
        self._history.append((now, done))
        while len(self._history) > 2 and self._history[1][0] < now - _RATE_OVER_S:
            self._history.popleft()
        since_s, before = self._history[0]
        return (done - before) * 60 / max(now - since_s, 0.001)

    def _talk(self) -> None:
        while not self._ended.wait(self._every_s):
            self._try(self._say, self.line())
            self._try(self._tell, {**self._counts, "total": self._total})

    def _try(self, tell: Callable[[T], object], what: T) -> None:
        """What cannot be told, as while Dagster's storage is away, is left out; the next line tells more."""
        try:
            tell(what)
        except Exception as exc:
            logger.warning("nobody took a line of progress: %s", exc)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"about {seconds:.0f} s to go"
    return f"about {seconds / 60:.0f} min to go" if seconds < 90 * 60 else f"about {seconds / 3600:.1f} h to go"

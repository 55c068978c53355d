"""What a model must wait for, a fetch, an engine or a compiled graph, told while it takes its minutes."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

logger = logging.getLogger(__name__)

TOLD_EVERY_S = 15.0


@dataclass
class Build:
    """One thing under way; its text says which step it is at and for how long it has been."""

    what: str
    steps: tuple[str, ...]
    step: int = 0
    began_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        place = f"{self.steps[self.step]} (step {self.step + 1} of {len(self.steps)})"
        return f"{self.what}: {place}, {time.monotonic() - self.began_s:.0f} s"


class Builds:
    """Everything that models of one process wait for. Safe for threads."""

    def __init__(self, told_every_s: float = TOLD_EVERY_S) -> None:
        self._told_every_s = told_every_s
        self._open: list[Build] = []
        self._lock = threading.Lock()

    def now(self) -> tuple[str, ...]:
        """What is being built, a line for each."""
        with self._lock:
            return tuple(map(str, self._open))

    @contextmanager
    def run(self, what: str, *steps: str) -> Iterator[Callable[[], None]]:
        """Tell of a build while the block runs: in the log at its start, each step, every few seconds, and its end.

        Yields:
            what goes on to the next step.
        """
        build, is_over = Build(what, steps), threading.Event()

        def go_on() -> None:
            build.step += 1
            logger.info("%s", build)

        def tell() -> None:
            while not is_over.wait(self._told_every_s):
                logger.info("%s so far", build)

        logger.info("%s", build)
        teller = threading.Thread(target=tell, name="imagegenx-building", daemon=True)
        teller.start()
        with self._lock:
            self._open.append(build)
        try:
            yield go_on
        except BaseException:
            logger.warning("%s: failed", build)
            raise
        else:
            logger.info("%s: done in %.0f s", what, time.monotonic() - build.began_s)
        finally:
            with self._lock:
                self._open.remove(build)
            is_over.set()
            teller.join()


@cache
def process_builds() -> Builds:
    """The builds of this process."""
    return Builds()

"""Who wants to see how far a run is: the command line's progress bar, later the task status of a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Watcher(Protocol):
    """Receives real progress, in the thread that computes."""

    def pictures(self, asset: str, done: int, total: int) -> None:
        """`done` of `total` rows of an asset are settled."""

    def step(self, picture_id: str, step: int, steps: int) -> None:
        """`step` of `steps` denoising steps of a picture are done."""


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Send the progress of everything that runs inside this block, in this thread, to `watcher`."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def report_pictures(asset: str, done: int, total: int) -> None:
    """Tell the watcher, if there is one."""
    if watcher := _watcher.get():
        watcher.pictures(asset, done, total)


def report_step(picture_id: str, step: int, steps: int) -> None:
    """Tell the watcher, if there is one."""
    if watcher := _watcher.get():
        watcher.step(picture_id, step, steps)

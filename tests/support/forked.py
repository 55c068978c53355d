"""Processes forked from one that has loaded the code location and a worker: there at once, and free to be killed."""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "imagegenx_assets.definitions",
        "pandas",
        "PIL.Image",
        "models.encoding",
        "resources.sqlite_storage",
        "tests.support.stand_in_worker",
    ]
)


class Forked:
    """A process that runs a function of a module, in the environment and folder of now; used as a `Popen` is."""

    def __init__(self, target: Callable[..., object], *given: object) -> None:
        self._process = _context.Process(target=_run, args=(target, given, dict(os.environ), str(Path.cwd())))
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process.pid
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, the negative signal that ended it, or None while it lives."""
        return self._process.exitcode

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Its exit status once it has ended, or None after so long."""
        self._process.join(timeout_s)
        return self._process.exitcode

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()


def _run(target: Callable[..., Any], given: tuple[object, ...], environment: Mapping[str, str], folder: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    target(*given)

"""The processes of a stack on one machine: started, watched, and all of them ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.error_text import without_escapes
from foundation.errors import ImageGenXError
from foundation.private_folder import make_private
from foundation.process_start import started_clean

if TYPE_CHECKING:
    import psutil

STOP_S = 20.0
"""Processes that have not ended so long after SIGTERM are killed."""
KILL_S = 5.0
"""Killed processes are waited for so long."""
_SHOWN_CHARS = 400
"""Of what a process said last: so much has room in an error's text."""
_LOOK_S = 0.1


class ProcessEndedError(ImageGenXError):
    """A process of the stack has ended that should run."""

    def __init__(self, part: "Part", status: int) -> None:
        reason = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        said = ""
        if part.log:
            said = f" {part.log} says:\n{_last_words(part.log) or '(nothing)'}"
        super().__init__(f"{part.name} ended with {reason}, so everything ends.{said}")


def _last_words(log: Path) -> str:
    """The end of a log, from the beginning of a line on if one begins there."""
    with log.open("rb") as file:
        file.seek(-min(log.stat().st_size, 10 * _SHOWN_CHARS), os.SEEK_END)
        said = without_escapes(file.read().decode(errors="replace")).strip()
    end = said[-_SHOWN_CHARS:]
    return end if end == said else end.partition("\n")[2].strip() or end


class NotReadyError(ImageGenXError):
    """A process of the stack takes too long to start."""


@dataclass(frozen=True)
class Part:
    """A running process; what it prints goes to `log`, or where ours goes."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path | None


class ProcessStack:
    """Processes that live and die together. Used as a context: leaving it ends them and everything they started.

    On Linux they are also told to end (SIGTERM) when the thread that started them ends in any other way, like by
    `kill -9` of its process.
    """

    def __init__(self, log_folder: Path | None = None) -> None:
        self._logs = log_folder
        self._parts: list[Part] = []

    def __enter__(self) -> "ProcessStack":
        if self._logs:
            make_private(self._logs)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a process, in a session of its own: Ctrl-C in the terminal is for us alone.

        It and all that it starts take no module from the working folder, and no signal is ignored or blocked.
        """
        log = self._logs / f"{name.replace(' ', '_')}.log" if self._logs else None
        with log.open("wb") if log else nullcontext() as output:
            process = subprocess.Popen(
                started_clean(command, ends_with_us=True),
                env={**os.environ, "PYTHONSAFEPATH": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._parts.append(Part(name, process, log))

    def wait_until(self, what: str, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait for something that the processes bring about.

        Raises:
            ProcessEndedError: if one of them ends first.
            NotReadyError: after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise NotReadyError(f"{what} is not there after {timeout_s:g} s. See the logs in {self._logs}.")
            time.sleep(_LOOK_S)

    def watch(self) -> None:
        """Stay until one of the processes ends, which is a ProcessEndedError."""
        while True:
            self.check()
            time.sleep(_LOOK_S)

    def check(self) -> None:
        """Raise ProcessEndedError if one of the processes has ended."""
        for part in self._parts:
            status = part.process.poll()
            if status is not None:
                raise ProcessEndedError(part, status)

    def stop(self) -> None:
        """End every process and what it started; kills what does not end in time.

        Workers that the processes have begun are ended first, so that these see how each of them ended; so is what a
        process that has died left behind. A worker that is begun meanwhile is told as soon as it is seen.
        """
        deadline = time.monotonic() + STOP_S
        started = {part: _started_by(part) for part in self._parts}
        workers = self._tell_workers()
        for part, children in started.items():
            if not workers & children:
                _terminate(part.process)
            if part.process.poll() is not None:
                for child in children - workers:
                    _terminate(child)
        self._tell_workers_until(lambda: not any(map(is_alive, workers)), deadline - STOP_S / 2, workers)
        for part in self._parts:
            _terminate(part.process)
        self._tell_workers_until(lambda: not self._running(), deadline, workers)
        for part in self._running():
            part.process.kill()
            part.process.wait()
        descendants = workers.union(*started.values())
        for child in set().union(*map(_started_by, self._parts)) - descendants:
            _terminate(child)
            descendants.add(child)
        surviving = _wait(descendants, deadline)
        for child in surviving:
            child.kill()
        _wait(surviving, time.monotonic() + KILL_S)
        self._parts.clear()

    def _running(self) -> list[Part]:
        return [part for part in self._parts if part.process.poll() is None]

    def _tell_workers(self, told: "AbstractSet[psutil.Process]" = frozenset()) -> "set[psutil.Process]":
        """Tell workers to end that have not been told; returns them."""
        workers = {child for part in self._parts for child in _started_by(part) - told if _is_worker(child)}
        for worker in workers:
            _terminate(worker)
        return workers

    def _tell_workers_until(self, is_over: Callable[[], bool], deadline: float, told: "set[psutil.Process]") -> None:
        while not is_over() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            told |= self._tell_workers(told)


def _started_by(part: Part) -> "set[psutil.Process]":
    """Everything a part has started; what outlived the part is known by its session."""
    import psutil

    started: set[psutil.Process] = set()
    for pid in psutil.pids():
        with suppress(psutil.NoSuchProcess):
            if pid != part.process.pid and _session(pid) == part.process.pid:
                started.add(psutil.Process(pid))
    with suppress(psutil.NoSuchProcess):
        started.update(psutil.Process(part.process.pid).children(recursive=True))
    return started


def _session(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def _is_worker(process: "psutil.Process") -> bool:
    """Whether Python's multiprocessing spawned or forked it to do work, as Dagster does for each run."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        command, parent = process.cmdline(), process.parent()
        if any("forkserver" in word for word in command):  # a fork looks as the process that it was forked from
            return parent is not None and parent.cmdline() == command
        return any("spawn_main" in word for word in command)
    return False


def _terminate(process: "psutil.Process | subprocess.Popen[bytes]") -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):
        process.terminate()


def _wait(processes: "Iterable[psutil.Process]", deadline: float) -> "list[psutil.Process]":
    """Those that still live at the deadline."""
    while (alive := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return alive


def is_alive(process: "psutil.Process") -> bool:
    """Whether a process goes on. One that has ended may stay in the list of processes: not every container reaps."""
    import psutil

    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False

"""The decoder processes of this process: started when first needed, kept for the next picture, killed when too slow."""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.decoding.errors import UnreadableError

Op = Literal["size", "decode", "transparency", "manifest", "marks", "detect"]

MAX_CPU_S: dict[Op, float] = {
    **{"size": 1.0, "decode": 4.0, "transparency": 4.0, "manifest": 1.0},
    **{"marks": 15.0, "detect": 30.0},
}
"""Seconds of computing that one picture may cost."""
MAX_WALL_S = 60.0
"""Nothing is waited for longer, however busy the machine is, s."""
MOST_PROCESSES = 4
MOST_READERS = 2
"""Of marks, which takes seconds, and detectors: no picture that is only decoded waits for one of these."""

_ROOT = str(Path(__file__).resolve().parents[2])
_START = "import sys; sys.path[:] = sys.argv[1:]; from models.decoding.process import serve; serve()"
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
_OTHERS_SIGNALS = (-signal.SIGKILL, -signal.SIGTERM)


@dataclass(frozen=True)
class Answer:
    """What a decoder process says: a head, and the bytes that come with it."""

    head: dict[str, Any]
    body: bytes


_COSTLY = (
    "cannot be read: it costs more time or memory than a picture of its size may. Save it anew, smaller or as a plain "
    "PNG or JPEG."
)
_DIED = "the process that looks at pictures crashed, or took more time or memory than it may"


class _EndedError(Exception):
    """The decoder process ended before it answered, of the picture or by its limits."""


class _KilledError(Exception):
    """The decoder process was killed from outside, as by a system short of memory."""


class _Decoder:
    """One decoder process; for one thread at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # The modules are the parent's, wherever it found them; nothing of its environment, which has secrets.
            [sys.executable, "-I", "-W", "ignore", "-c", _START, _ROOT, *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        self._was_too_slow = False

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, op: Op, data: bytes, max_pixels: int, about: str) -> Answer:
        """Its answer; _EndedError if it ends first, _KilledError if somebody else ended it."""
        question = {"op": op, "max_pixels": max_pixels, "cpu_s": MAX_CPU_S[op], "bytes": len(data), "about": about}
        timer = threading.Timer(MAX_WALL_S, self._end_as_too_slow)
        timer.daemon = True
        timer.start()
        try:
            answer = self._answer(json.dumps(question).encode() + b"\n", data)
        finally:
            timer.cancel()
        if answer:
            return answer
        ended_by_others = self._process.wait() in _OTHERS_SIGNALS and not self._was_too_slow
        raise _KilledError if ended_by_others else _EndedError

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was still to be written to it
                pipe.close()  # type: ignore[union-attr]

    def _answer(self, question: bytes, data: bytes) -> Answer | None:
        questions, answers = self._process.stdin, self._process.stdout
        assert questions
        assert answers
        with suppress(BrokenPipeError):
            questions.write(question)
            questions.write(data)
            questions.flush()
        if not (line := answers.readline()):
            return None
        head = json.loads(line)
        body = answers.read(head["bytes"])
        return Answer(head, body) if len(body) == head["bytes"] else None

    def _end_as_too_slow(self) -> None:
        self._was_too_slow = True
        self._process.kill()


class Decoders:
    """Decoder processes, at most so many at once. Safe for threads."""

    def __init__(self, most: int = MOST_PROCESSES) -> None:
        self._places = threading.Semaphore(most)
        self._idle: list[_Decoder] = []

    def ask(self, op: Op, data: bytes, max_pixels: int, about: str = "") -> Answer:
        """What a decoder process makes of a picture file.

        Args:
            about: what else is to be known: whose signatures of marks are one's own, as PEM; which detector is meant.

        Raises:
            UnreadableError: if it cannot be decoded, or not within the limits of time and memory.
        """
        with self._places:
            answer = self._answer(op, data, max_pixels, about)
        if error := answer.head.get("error"):
            raise UnreadableError(error)
        return answer

    def close(self) -> None:
        """End the processes that wait for work; the next picture starts new ones."""
        while self._idle:
            self._idle.pop().end()

    def _answer(self, op: Op, data: bytes, max_pixels: int, about: str) -> Answer:
        try:
            try:
                return self._ask(op, data, max_pixels, about)
            except _KilledError:
                return self._ask(op, data, max_pixels, about)
        except _EndedError:
            raise UnreadableError(_DIED if op == "detect" else _COSTLY) from None
        except (_KilledError, OSError) as exc:
            raise UnreadableError(f"could not be read: no decoder process is to be had ({exc or 'killed'}).") from exc

    def _ask(self, op: Op, data: bytes, max_pixels: int, about: str) -> Answer:
        decoder = self._take()
        try:
            answer = decoder.ask(op, data, max_pixels, about)
        except BaseException:
            decoder.end()
            raise
        self._idle.append(decoder)
        return answer

    def _take(self) -> _Decoder:
        try:
            while not (decoder := self._idle.pop()).is_alive:
                decoder.end()
            return decoder
        except IndexError:
            return _Decoder()


def _fresh() -> dict[str, Decoders]:
    return {"decode": Decoders(), "marks": Decoders(MOST_READERS), "detect": Decoders(MOST_READERS)}


_pools = _fresh()


def ask(op: Op, data: bytes, max_pixels: int, about: str = "") -> Answer:
    """See `Decoders.ask`: of those that all threads of this process share for this purpose."""
    pool = _pools.get("marks" if op == "manifest" else op, _pools["decode"])
    return pool.ask(op, data, max_pixels, about)


def _end() -> None:
    for pool in _pools.values():
        pool.close()


def _start_afresh() -> None:
    """In a forked process: the parent's decoders answer the parent."""
    _pools.update(_fresh())


atexit.register(_end)
os.register_at_fork(after_in_child=_start_afresh)

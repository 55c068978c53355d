"""What a process of ours does first: signals, streams and import path are its own, whatever its parent left behind."""

import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from foundation.errors import ImageGenXError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
"""What a parent may not have us ignore. SIGHUP is not among them: `nohup` means it. Else it is as good as SIGTERM."""
_CLEAN_START = """
import os, signal, sys
for number in signal.valid_signals():
    try:
        signal.signal(number, signal.SIG_DFL)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_SETMASK, [])
parent = int(sys.argv[1])
if parent and sys.platform == "linux":
    import ctypes
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the parent has ended")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class OutputError(ImageGenXError):
    """What a command prints cannot be written, like on a full disk."""


class OutputClosedError(ImageGenXError):
    """Nobody reads what a command prints any more, as after `| head -1`."""


def start_process() -> None:
    """Take back what this process has inherited; called once, before anything else.

    Background shells have SIGINT ignored, and Dagster gives SIGTERM whatever SIGINT has; Python puts the working folder
    before the libraries in what it starts with `-m`; and a standard stream may be closed, full, or of an encoding that
    lacks our characters.
    """
    accept_signals()
    os.environ["PYTHONSAFEPATH"] = "1"
    _open_closed_streams()
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = lossy_text(2, sys.stderr)


def accept_signals() -> None:
    """Undo that a parent has had signals ignored or blocked which end processes, or tell that they have ended.

    A terminal that is closed then ends a process like SIGTERM, with its calls answered and what it has started.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def started_clean(command: Sequence[str], *, ends_with_us: bool = False) -> list[str]:
    """What becomes this command once no signal is ignored or blocked any more.

    Args:
        ends_with_us: on Linux it asks the kernel for SIGTERM when the thread that starts it ends (prctl(2)).
    """
    parent = os.getpid() if ends_with_us else 0
    return [sys.executable, "-I", "-S", "-c", _CLEAN_START, str(parent), *command]


def lossy_text(descriptor: int, like: TextIO | None) -> TextIO:
    """A text stream for messages beside the result: what cannot be written is lost, and nothing else is.

    Args:
        descriptor: closed by somebody else.
        like: the stream whose encoding it takes.
    """
    return _text(_Messages(descriptor, "w", closefd=False), like)


class _Output(io.FileIO):
    """Standard output: the first failure is raised in our words, and then what is still buffered is dropped."""

    _is_lost = False

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or raise OutputError or OutputClosedError once."""
        if self._is_lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as exc:
            self._is_lost = True
            if isinstance(exc, BrokenPipeError):
                raise OutputClosedError("nobody reads standard output any more.") from exc
            raise OutputError(f"standard output cannot be written: {exc.strerror}.") from exc


class _Messages(io.FileIO):
    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or lose it."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _text(raw: io.FileIO, like: TextIO | None) -> TextIO:
    """A stream that never fails for a character: what its encoding lacks is written as `\\u…`."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=like.encoding if like else None,
        errors="backslashreplace",
        line_buffering=raw.isatty() or isinstance(raw, _Messages),
    )


def _open_closed_streams() -> None:
    """Give closed standard streams to /dev/null: else the next file that is opened gets their number.

    Standard output gets it for reading, so that writing fails as it would have.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 it stays open as long as the process

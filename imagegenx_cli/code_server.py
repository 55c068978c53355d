"""Dagster's code server, which ends with its runs: `python -m imagegenx_cli.code_server`.

It takes the options of `dagster api grpc`. Dagster's own waits for its runs when it is told to end, and tells them
nothing: a serving run would keep its requests until the lease ends.
"""

import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from foundation.process_start import start_process
from imagegenx_cli.processes import ProcessEndedError, ProcessStack

NAME = "code server"


def run_code_server(options: Sequence[str]) -> int:
    """Serve until SIGTERM, Ctrl-C or a closed terminal, then end every run and the server; returns the exit status.

    Runs are told first. A serving run gives its requests back; a catalog run is started again and goes on where it was.
    What has not ended after `ProcessStack`'s patience is killed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    with suppress(KeyboardInterrupt), ProcessStack() as stack:
        try:
            stack.start(NAME, [sys.executable, "-P", "-m", "dagster", "api", "grpc", *options])
            stack.watch()
        except ProcessEndedError as exc:
            print(exc, file=sys.stderr)
            return 1
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    start_process()
    sys.exit(run_code_server(sys.argv[1:]))

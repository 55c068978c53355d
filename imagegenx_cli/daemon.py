"""Dagster's daemon: `python -m imagegenx_cli.daemon`, with the options of `dagster-daemon run`.

There is one for each instance of Dagster: where there is another, it waits for its end. A closed terminal ends it in
order, as SIGTERM and Ctrl-C do.
"""

import signal
from contextlib import suppress

from dagster import DagsterInstance
from dagster._daemon.cli import run_command

from foundation.process_start import start_process
from resources.daemon_lock import daemon_lock


def main() -> None:
    """Look after sensors, schedules, backfills and the run queue."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), DagsterInstance.get() as instance, daemon_lock(instance):
        run_command(prog_name="imagegenx_cli.daemon", auto_envvar_prefix="DAGSTER_DAEMON")


if __name__ == "__main__":
    start_process()
    main()

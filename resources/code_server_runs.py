"""How a code server begins runs and notices those that died: importing this module changes both.

Dagster spawns a process for each run, which then loads Dagster, the definitions and what makes a catalog: most of what
a small catalog costs. Here they are forked from a process that has loaded all of that since the code server began.

One error ends Dagster's own watching for good: every run that dies later stays `STARTED` for ever, since its code
server says that it has it, and the code server does not end when it is told to.
"""

import logging
import os
import sys
import tempfile
from multiprocessing import forkserver, get_context

from dagster import DagsterInstance, DagsterRunStatus
from dagster._grpc.server import DagsterApiServer

logger = logging.getLogger(__name__)

PAUSE_S = 2.0
"""How long after an error the runs are looked at again."""
_LONGEST_FOLDER = 64
"""Bytes of the path of the folder for temporary files: below it is the socket by which forks are asked for."""
RUNS_LOAD = ("resources.sqlite_storage", "pandas", "pyarrow.parquet", "PIL.Image", "upath", "models.marks.reading")
"""What runs of catalogs load beside the definitions; the threads of OpenBLAS and jemalloc are made for forks."""
_look = DagsterApiServer._check_for_orphaned_runs


def look_at_runs(server: DagsterApiServer) -> None:
    """Tell of runs whose process is no more; what cannot be told now is told the next time."""
    fork_runs(server)
    try:
        _cancel_ended(server)
        _look(server)
    except Exception:
        logger.warning("The runs of this code server cannot be looked at now.", exc_info=True)
        server._server_termination_event.wait(PAUSE_S)


def fork_runs(server: DagsterApiServer) -> None:
    """Have the runs of a code server forked from now on, where that can be.

    It cannot where libraries of the system do not go on in a fork (macOS), or a socket's path would be too long.
    """
    if server._mp_ctx.get_start_method() != "spawn" or sys.platform != "linux":
        return
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_FOLDER:
        origin, context = server._loadable_target_origin, get_context("forkserver")
        location = origin.module_name if origin and origin.module_name else "dagster"
        context.set_forkserver_preload([location, *RUNS_LOAD])
        forkserver.ensure_running()  # it loads meanwhile: the daemon waits a minute for a run to start, and not longer
        server._mp_ctx = context  # type: ignore[assignment]


def _cancel_ended(server: DagsterApiServer) -> None:
    """Runs that were to be cancelled and have ended are cancelled: as failed ones they would be started again."""
    for run_id, (process, reference) in [*server._executions.items()]:
        if not process.is_alive():
            with DagsterInstance.from_ref(reference) as instance:
                run = instance.get_run_by_id(run_id)
                if run and run.status is DagsterRunStatus.CANCELING:
                    instance.report_run_canceled(run)


DagsterApiServer._check_for_orphaned_runs = look_at_runs  # type: ignore[assignment]

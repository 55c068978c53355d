"""How a code server notices runs that died: importing this module has it go on after an outage of Dagster's database.

One error ends Dagster's own watching for good: every run that dies later stays `STARTED` for ever, since its code
server says that it has it, and the code server does not end when it is told to.
"""

import logging

from dagster._grpc.server import DagsterApiServer

logger = logging.getLogger(__name__)

PAUSE_S = 2.0
"""How long after an error the runs are looked at again."""
_look = DagsterApiServer._check_for_orphaned_runs


def look_at_runs(server: DagsterApiServer) -> None:
    """Tell of runs whose process is no more; what cannot be told now is told the next time."""
    try:
        _look(server)
    except Exception:
        logger.warning("The runs of this code server cannot be looked at now.", exc_info=True)
        server._server_termination_event.wait(PAUSE_S)


DagsterApiServer._check_for_orphaned_runs = look_at_runs  # type: ignore[assignment]

"""Dagster's run launcher for runs beside the code server, which notices that they were ended with it."""

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

ASK_S = 5
"""How long a code server may take to answer, s."""


class CodeServerRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher`, which run monitoring can ask how a run is.

    A code server says of a run that dies that it has failed. When it is killed itself, its runs stayed `STARTED` for
    ever: the code server that is started in its place does not know them, and says so here.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: the code server is asked."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Failed once its code server, or the one in its place, says that it has not the run."""
        server = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if server is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no code server is known that has it")
        try:
            asked = CanCancelExecutionRequest(run_id=run.run_id)
            answer = deserialize_value(server.can_cancel_execution(asked, timeout=ASK_S), CanCancelExecutionResult)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer")
        if answer.can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was ended, and started again without it")

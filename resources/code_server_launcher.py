"""Dagster's run launcher for runs beside the code server: it knows those that begin slowly or were ended with it."""

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

ASK_S = 5
"""How long a code server may take to say whether it has a run, s."""
BEGIN_S = 240
"""How long it may take to begin one, once Dagster has stopped waiting for that after a minute, s."""


class CodeServerRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher`, which run monitoring can ask how a run is.

    A run that takes over a minute to begin was put back into the queue or failed, and began all the same: twice, or
    without anybody who knew. Its code server is asked whether it has it.

    A code server says of a run that dies that it has failed. When it is killed itself, its runs stayed `STARTED` for
    ever: the code server that is started in its place does not know them, and says so here.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: the code server is asked."""
        return True

    def launch_run(self, context: LaunchRunContext) -> None:
        """Have the code server begin a run; DagsterUserCodeUnreachableError if it does not answer and has not begun."""
        try:
            super().launch_run(context)
        except DagsterUserCodeUnreachableError:
            if not self._has_run(context.dagster_run.run_id, BEGIN_S):
                raise

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Failed once its code server, or the one in its place, says that it has not the run."""
        try:
            has_run = self._has_run(run.run_id, ASK_S)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server does not answer")
        if has_run is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no code server is known that has it")
        if has_run:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server was ended, and started again without it")

    def _has_run(self, run_id: str, timeout_s: int) -> bool | None:
        """What the code server of a run says, which waits for one that is just beginning; None if none is known."""
        server = self._get_grpc_client_for_termination(run_id)  # type: ignore[no-untyped-call]
        if server is None:
            return None
        asked = CanCancelExecutionRequest(run_id=run_id)
        answer = deserialize_value(server.can_cancel_execution(asked, timeout=timeout_s), CanCancelExecutionResult)
        return bool(answer.can_cancel)

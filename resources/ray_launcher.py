"""Dagster's run launcher for Ray, which waits for a head that is away."""

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import LaunchRunContext

from foundation.errors import ImageGenXError

try:
    from dagster_ray import RayRunLauncher
except ImportError as exc:
    raise ImageGenXError(f"dagster.yaml names Ray's run launcher ({exc}): pip install 'imagegenx[ray]'.") from exc


_NOT_UP_YET = "No available agent"
"""What a head says that has begun to answer, and has no process yet that starts jobs."""


class PatientRayRunLauncher(RayRunLauncher):
    """`RayRunLauncher`, of which a run goes back into Dagster's queue while the head is away or starts.

    Upstream such a run fails, and its retries too, within seconds. How often and when the queue tries again is said by
    `max_user_code_failure_retries` and `user_code_failure_retry_delay` of the run coordinator.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Submit the run as a job of Ray's.

        Raises:
            DagsterUserCodeUnreachableError: which the queue takes for a reason to wait.
        """
        try:
            super().launch_run(context)
        except (OSError, RuntimeError) as exc:  # errors of `requests` are OSErrors
            if isinstance(exc, RuntimeError) and _NOT_UP_YET not in str(exc):
                raise
            raise DagsterUserCodeUnreachableError(f"Ray's head takes no runs at {self.address}: {exc}") from exc

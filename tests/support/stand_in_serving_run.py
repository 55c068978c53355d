"""A serving run in a process of its own, as Dagster starts one, whose engine is the stand-in worker's."""

import sys
from functools import partial

import ops.serve_requests
from ops.serving import WorkerDependencies
from tests.support.stand_in_worker import SubmittingEngine

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def stand_in() -> None:
    """Let serving runs of this process paint with the stand-in worker's engine."""
    ops.serve_requests.BatchingEngine = lambda registry, settings: SubmittingEngine()
    ops.serve_requests.WorkerDependencies = partial(WorkerDependencies, warm_up=lambda registry: None)


def main() -> None:
    """Serve until told to end; the exit status is 0 if the run has succeeded."""
    from dagster import DagsterInstance

    from imagegenx_assets.definitions import defs

    stand_in()
    job = defs.resolve_job_def("serving_run")
    with DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(run_config=QUIET, instance=instance, raise_on_error=False)
    sys.exit(0 if result.success else 1)

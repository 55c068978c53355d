"""How many serving runs there are and should be, as Dagster and the workers' heartbeats tell."""

import time
from collections.abc import Collection, Sequence
from math import ceil

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from configs.serving_settings import ServingSettings
from resources.queue import QueueDepth, WorkerState

SERVING_JOB = "serving_run"
POOL = "serving"
"""The concurrency pool that bounds serving runs: its limit is `serving.gpu_slots`."""
SLOT_TAG = "imagegenx/slot"
"""The tag of a serving run that says which GPU slot is its own, from 0."""

_OPEN = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def open_runs(instance: DagsterInstance) -> Sequence[RunRecord]:
    """The serving runs that are waiting, starting or working."""
    return instance.get_run_records(RunsFilter(job_name=SERVING_JOB, statuses=_OPEN))


def fail_lost_runs(
    instance: DagsterInstance, records: Sequence[RunRecord], beating: Collection[str], settings: ServingSettings
) -> list[DagsterRun]:
    """Mark the runs as failed that have sent no heartbeat for too long; the others are returned.

    Most dead runs are noticed by what launched them. This is for those whose launcher has died as well.

    Args:
        beating: the runs that sent a heartbeat lately.
    """
    alive = []
    for record in records:
        run = record.dagster_run
        started_s = record.start_time or record.create_timestamp.timestamp()
        working = run.status in (DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.CANCELING)
        if working and run.run_id not in beating and time.time() - started_s > settings.lost_after_s:
            instance.report_run_failed(run, f"No heartbeat of this serving run for {settings.lost_after_s:g} s.")
        else:
            alive.append(run)
    return alive


def dead_workers(workers: Sequence[WorkerState], runs: Sequence[DagsterRun]) -> list[WorkerState]:
    """The workers that still have a lease though their run has ended."""
    alive = {run.run_id for run in runs}
    return [worker for worker in workers if worker.run_id and worker.run_id not in alive]


def bound_pool(instance: DagsterInstance, settings: ServingSettings) -> None:
    """Let the pool of serving runs hold as many as there are GPU slots."""
    storage = instance.event_log_storage
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    if limits.get(POOL) != settings.gpu_slots:
        storage.set_concurrency_slots(POOL, settings.gpu_slots)


def runs_wanted(depth: QueueDepth, settings: ServingSettings) -> int:
    """The number of serving runs that the backlog calls for: at least one if there is any, at most one per slot."""
    return min(ceil(depth.backlog / settings.backlog_per_run), settings.gpu_slots)


def free_slots(runs: Sequence[DagsterRun], settings: ServingSettings) -> list[int]:
    """The GPU slots that no open run has."""
    taken = {run.tags.get(SLOT_TAG) for run in runs}
    return [slot for slot in range(settings.gpu_slots) if str(slot) not in taken][: settings.gpu_slots - len(runs)]

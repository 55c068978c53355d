"""How many serving runs there are and should be, as Dagster and the workers' heartbeats tell."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from configs.serving_settings import ServingSettings
from resources.dagster_names import SERVING_POOL
from resources.queue import QueueDepth, WorkerState

SERVING_JOB = "serving_run"
_ON_GPU = ("text", "denoise", "decode", "upscale")
"""The stages of a picture in which it has the GPU, or its share of it."""
LONGEST_LOOK_S = 50.0
"""The daemon ends a tick after 60 s: a look that comes later than this found the sensor or Redis away meanwhile."""

OPEN = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
"""Of runs that wait, start or work."""


def open_runs(instance: DagsterInstance) -> Sequence[RunRecord]:
    """The serving runs that are waiting, starting or working."""
    return instance.get_run_records(RunsFilter(job_name=SERVING_JOB, statuses=OPEN))


@dataclass(frozen=True)
class Silence:
    """For how long started runs have been seen without a heartbeat; kept in the sensor's cursor.

    Only looks at the queue count. While Redis is away nobody is heard, and nobody looks: each look vouches for at most
    `LONGEST_LOOK_S` before it, and only if the run was silent at the look before.
    """

    looked_at_s: float = 0.0
    by_run_s: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Silence":
        """What the last look left; nothing if the cursor is of another version."""
        try:
            looked_at_s, by_run_s = json.loads(cursor or "")
            return cls(float(looked_at_s), {str(run): float(silent_s) for run, silent_s in by_run_s.items()})
        except (ValueError, TypeError, AttributeError):
            return cls()

    def to_cursor(self) -> str:
        """The cursor for the next look."""
        return json.dumps([round(self.looked_at_s, 3), self.by_run_s])

    def after_look(self, silent: Iterable[str], now_s: float) -> "Silence":
        """The silence of these runs, which were silent at a look at `now_s`."""
        more_s = min(max(0.0, now_s - self.looked_at_s), LONGEST_LOOK_S)
        return Silence(now_s, {run: self.by_run_s[run] + more_s if run in self.by_run_s else 0.0 for run in silent})


def fail_lost_runs(
    instance: DagsterInstance, records: Sequence[RunRecord], silence: Silence, settings: ServingSettings
) -> list[DagsterRun]:
    """Mark the runs as failed that have been silent for too long; the others are returned.

    Most dead runs are noticed by what launched them. This is for those whose launcher has died as well. Runs that
    have not started are left to Dagster's run monitoring.
    """
    alive = []
    for record in records:
        run = record.dagster_run
        if silence.by_run_s.get(run.run_id, 0.0) > settings.lost_after_s:
            instance.report_run_failed(run, f"No heartbeat of this serving run for {settings.lost_after_s:g} s.")
        else:
            alive.append(run)
    return alive


def silent_runs(records: Sequence[RunRecord], beating: Collection[str]) -> list[str]:
    """The runs that have started and have sent no heartbeat lately, as those in `beating` have."""
    started = [record.dagster_run.run_id for record in records if record.start_time is not None]
    return [run_id for run_id in started if run_id not in beating]


def dead_workers(instance: DagsterInstance, workers: Sequence[WorkerState]) -> list[WorkerState]:
    """The workers that still have a lease though their run has ended; runs of another Dagster are unknown here."""
    run_ids = [worker.run_id for worker in workers if worker.run_id]
    runs = instance.get_runs(RunsFilter(run_ids=run_ids)) if run_ids else []
    ended = {run.run_id for run in runs if run.is_finished}
    return [worker for worker in workers if worker.run_id in ended]


def bound_pool(instance: DagsterInstance, settings: ServingSettings) -> None:
    """Let the pool of serving runs hold as many as there are GPU slots."""
    storage = instance.event_log_storage
    limits = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    if limits.get(SERVING_POOL) != settings.gpu_slots:
        storage.set_concurrency_slots(SERVING_POOL, settings.gpu_slots)


def runs_wanted(depth: QueueDepth, workers: Sequence[WorkerState], open_runs: int, settings: ServingSettings) -> int:
    """The number of serving runs that the work calls for, from `min_runs` to `gpu_slots`.

    So many that what waits and what is in work take `drain_s`, by the seconds that the living workers' pictures took
    of their GPUs. Where requests wait for longer than that although every run works, it is one more than there are.

    Args:
        open_runs: those that there are, starting ones included.
    """
    per_run = settings.drain_s / (picture_s(workers) or settings.drain_s / settings.backlog_per_run)
    wanted = ceil((depth.backlog + depth.processing) / per_run)
    if depth.oldest_waiting_s > settings.drain_s and len(workers) >= open_runs:
        wanted = max(wanted, open_runs + 1)
    return max(settings.min_runs, min(wanted, settings.gpu_slots))


def picture_s(workers: Sequence[WorkerState]) -> float:
    """The GPU seconds of a picture, on average since each worker's start; 0 if none has made any."""
    pictures = sum(worker.counters.get("pictures", 0.0) for worker in workers)
    seconds = sum(worker.counters.get(f"seconds_{stage}", 0.0) for worker in workers for stage in _ON_GPU)
    return seconds / pictures if pictures else 0.0

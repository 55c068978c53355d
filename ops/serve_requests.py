"""The op of the serving run: a worker that does what the request queue holds, and what Dagster is told of it."""

import logging
import os
import threading
from collections.abc import Sequence

from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterExecutionInterruptedError,
    DagsterRunStatus,
    Failure,
    MetadataValue,
    OpExecutionContext,
    op,
)

from foundation.logs import set_up_logs
from io_managers.text_table import text_table
from models.engine import BatchingEngine
from ops.serving import EngineStalledError, ResultGroup, ServingWorker, WorkerDependencies
from resources.dagster_names import ON_DEMAND_IMAGES, SERVING_POOL
from resources.dagster_outages import is_outage
from resources.gpu_engine import GPUEngine
from resources.object_store_resource import ObjectStoreResource
from resources.own_gpu import with_own_gpu
from resources.queue import TaskStatus
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource

logger = logging.getLogger(__name__)

INTERRUPTED_FINISH_S = 3.0
"""A serving run that is told to end lets pictures that have begun finish for so long."""

STALLED_EXIT_S = 60.0
"""A process whose engine hangs has so long to record its failed run."""


@op(pool=SERVING_POOL, tags={"dagster/kind": "pytorch"})
def serve_requests(
    context: OpExecutionContext,
    settings: SettingsResource,
    gpu_engine: GPUEngine,
    object_store: ObjectStoreResource,
    request_queue: RequestQueueResource,
) -> None:
    """Do what the request queue holds, until it has been empty for a while or the run is old enough to hand over."""
    current = settings.current
    set_up_logs(current.logs, run_id=context.run_id)
    placed = with_own_gpu(current)  # upscaling reads it, too
    engine = BatchingEngine(gpu_engine.registry, placed.engine)
    queue, store = request_queue.queue, object_store.store
    worker = ServingWorker(WorkerDependencies(placed, gpu_engine.registry, engine, store, queue, context.run_id))
    reports = Reports(context, worker)
    worker.start()
    try:
        reports.send_until_the_end(current.serving.report_every_s)
    except DagsterExecutionInterruptedError:
        worker.stop(INTERRUPTED_FINISH_S)
        reports.send_end()
        if _is_being_cancelled(context):
            raise
    except EngineStalledError:
        end_process_within(STALLED_EXIT_S)
        raise
    finally:
        # A worker that served on in a run that has failed would soon share its device with the next run's.
        worker.stop(INTERRUPTED_FINISH_S)
        worker.wait()


def report(context: OpExecutionContext, groups: Sequence[ResultGroup]) -> None:
    """Report results as materializations, one for each day."""
    for group in groups:
        context.log_event(materialization(group))


def materialization(group: ResultGroup) -> AssetMaterialization:
    """A group of results as Dagster shows it."""
    from io_managers.preview_sheet import contact_sheet_markdown

    return AssetMaterialization(
        AssetKey(ON_DEMAND_IMAGES),
        partition=group.day,
        description=f"{group.pictures} pictures",
        metadata={
            "pictures": group.pictures,
            "bytes": group.size_bytes,
            **{f"tasks_{status}": group.count(status) for status in TaskStatus if status.ended},
            **{f"{stage}_s": round(taken_s, 3) for stage, taken_s in sorted(group.seconds.items())},
            "keys": MetadataValue.json(group.keys),
            **({"failures": text_table(("task", "error"), group.errors)} if group.errors else {}),
            "contact_sheet": MetadataValue.md(contact_sheet_markdown(group.tiles)),
        },
    )


def end_process_within(seconds: float) -> None:
    """See to it that this process is gone by then, and its device free: a thread that hangs would keep it for ever."""
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()


class Reports:
    """Tells Dagster what a worker has done; what cannot be told while its storage is away is told later."""

    def __init__(self, context: OpExecutionContext, worker: ServingWorker) -> None:
        self._context, self._worker = context, worker
        self._unsent: list[ResultGroup] = []

    def send(self) -> None:
        """Report what there is, each group once."""
        self._unsent += self._worker.take_results()
        while self._unsent:
            report(self._context, self._unsent[:1])
            del self._unsent[0]

    def send_until_the_end(self, every_s: float) -> None:
        """Report every `every_s`, until the worker has ended.

        Raises:
            Failure: if Dagster takes the run for ended: it starts others in its place.
        """
        while not self._worker.wait(every_s):
            try:
                _check_open(self._context)
                self.send()
            except Exception as exc:
                if not is_outage(exc):
                    raise
                logger.warning("serving goes on, and is reported later: Dagster's storage is away: %s", exc)
        self.send_end()

    def send_end(self) -> None:
        """Wait for the worker's end, and report why it was and what is left."""
        try:
            self._context.log.info(f"Serving ended: {self._worker.end()}.")
        finally:
            self.send()


def _check_open(context: OpExecutionContext) -> None:
    run = context.instance.get_run_by_id(context.run_id)
    if run is None or run.is_finished:
        state = run.status.value.lower() if run else "deleted"
        raise Failure(f"Dagster has this run as {state} while it serves: it stops, others are started in its place.")


def _is_being_cancelled(context: OpExecutionContext) -> bool:
    """Whether a person ends the run; a machine that ends its processes makes a serving run hand over, and succeed."""
    run = context.instance.get_run_by_id(context.run_id)
    return run is not None and run.status is DagsterRunStatus.CANCELING

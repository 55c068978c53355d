"""The queue sensor: it sees to it that there are as many serving runs as the request queue calls for."""

import time

from dagster import (
    DagsterRun,
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from configs.serving_settings import ServingSettings
from resources.queue import RequestQueue
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource
from sensors.owned import owned_sensor
from sensors.serving_runs import (
    SERVING_JOB,
    Silence,
    bound_pool,
    dead_workers,
    fail_lost_runs,
    open_runs,
    runs_wanted,
    silent_runs,
)


@owned_sensor(
    "serving",
    job_name=SERVING_JOB,
    minimum_interval_seconds=1,
    default_status=DefaultSensorStatus.RUNNING,
    description=(
        "Starts serving runs: so many that the work there is takes `serving.drain_s`, at most `serving.gpu_slots`. It"
        " waits on the queue, so that a request that finds no serving run does not wait for the daemon's next round,"
        " and claims nothing."
    ),
)
def queue_sensor(
    context: SensorEvaluationContext, settings: SettingsResource, request_queue: RequestQueueResource
) -> SensorResult:
    """Look at queue and runs; where nothing is to be done, wait for a request and look again."""
    queue, serving = request_queue.queue, settings.current.serving
    runs = len(living_runs(context, queue, serving))
    if runs >= serving.gpu_slots:
        return SensorResult(skip_reason=SkipReason(f"All {serving.gpu_slots} GPU slots have a serving run."))
    if runs >= serving.min_runs and not queue.wait_for_work(serving.sensor_wait_s):
        return SensorResult(skip_reason=SkipReason("The request queue is empty."))
    wanted = runs_wanted(queue.depth(), queue.workers(), runs, serving)
    if wanted <= runs:
        return SensorResult(skip_reason=SkipReason(f"{runs} serving runs are enough."))
    bound_pool(context.instance, serving)
    return SensorResult(run_requests=[RunRequest() for _ in range(wanted - runs)])


def living_runs(context: SensorEvaluationContext, queue: RequestQueue, serving: ServingSettings) -> list[DagsterRun]:
    """The open serving runs, less those that died unnoticed; what dead workers had is free for others at once."""
    instance, workers = context.instance, queue.workers()
    records = open_runs(instance)
    silent = silent_runs(records, {worker.run_id for worker in workers})
    silence = Silence.from_cursor(context.cursor).after_look(silent, time.time())
    context.update_cursor(silence.to_cursor())
    runs = fail_lost_runs(instance, records, silence, serving)
    for worker in dead_workers(instance, workers):
        queue.worker_ended(worker.id)
    return runs

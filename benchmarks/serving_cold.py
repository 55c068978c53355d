"""The first request after a quiet time, on the whole stack; and what one Dagster run per request would cost.

Cold: the stack is up, no serving run lives, nothing is loaded. A run per request is what the queue sensor would start
if serving runs did one request each: the seconds from launch to the first line of the op, without any model.
"""

import statistics
import time

from dagster import DagsterInstance

from benchmarks.serving_stack import ServingStack, wait_for
from benchmarks.soak import prepared_stack
from resources.queue import TaskStatus

LIMITS = {"cold request s": 12.0}
COLD_REQUESTS = 3
_SETTLE_S = 10.0


def run() -> dict[str, float]:
    """Seconds of a cold request by part (medians), and of a warm one."""
    parts: dict[str, list[float]] = {}
    with prepared_stack(IMAGEGENX_SERVING__IDLE_EXIT_S="3") as (stack, _):
        time.sleep(_SETTLE_S)
        for number in range(COLD_REQUESTS):
            for name, taken_s in _cold_request(stack, f"cold-{number}").items():
                parts.setdefault(name, []).append(taken_s)
            wait_for("the end of the serving run", lambda: not stack.worker_pids(), 60.0)
            time.sleep(_SETTLE_S)
    return {name: statistics.median(values) for name, values in parts.items()}


def _cold_request(stack: ServingStack, name: str) -> dict[str, float]:
    began_s = time.time()
    total_s, warm_s = _request_s(stack, name), _request_s(stack, f"{name}-again")
    with DagsterInstance.from_config(str(stack.home / "dagster")) as instance:
        record = instance.get_run_records(limit=1)[0]
        events = {event.dagster_event_type: event for event in instance.all_logs(record.dagster_run.run_id)}
        at_s = {kind.value: event.timestamp for kind, event in events.items() if kind}
    created_s = record.create_timestamp.timestamp()
    return {
        "cold request s": total_s,
        "cold: until the sensor asks for a run s": created_s - began_s,
        "cold: until the run is launched s": at_s["PIPELINE_STARTING"] - created_s,
        "cold: until its process works s": at_s["STEP_START"] - at_s["PIPELINE_STARTING"],
        "cold: libraries, model and picture s": began_s + total_s - at_s["STEP_START"],
        "one run per request, without a model s": at_s["STEP_START"] - began_s,
        "warm request s": warm_s,
    }


def _request_s(stack: ServingStack, name: str) -> float:
    """Seconds from a request at the gateway until it has succeeded."""
    began = time.perf_counter()
    task_id = stack.submit({"text": "a red mug", "params": {"seed": 1}}, name)
    while not (task := stack.queue.task(task_id)) or not task.status.ended:
        time.sleep(0.01)
    if task.status is not TaskStatus.SUCCESS:
        raise RuntimeError(task.error)
    return time.perf_counter() - began

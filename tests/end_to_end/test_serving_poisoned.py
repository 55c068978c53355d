"""The whole stack with a request that crashes every serving run that tries it."""

import time

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType

from benchmarks.processes import wait_for
from benchmarks.serving_stack import objects_of, prepared_stack
from configs.settings import PACKAGE_ROOT
from models.admission import parse_request
from models.registry import open_registry
from resources.dagster_names import SERVING_POOL
from resources.open_store import open_store
from resources.queue import NewTask, TaskStatus, new_task_id
from sensors.serving_runs import SERVING_JOB
from tests.support.random_model import write_random_model

DEADLINE_S = 240.0
MAX_DELIVERIES = 3
LEASE_S = 150.0
"""Longer than two serving runs take to start on a busy machine, shorter than `DEADLINE_S`: who had to wait for a lease
would be seen to be late."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    settings = {
        **write_random_model(tmp_path_factory.mktemp("model")),
        "PYTHONPATH": str(PACKAGE_ROOT),
        "IMAGEGENX_CHECKS__MODERATION": "tests.support.killing_moderator:KillingModerator",
        "IMAGEGENX_QUEUE__LEASE_S": str(LEASE_S),
        "IMAGEGENX_QUEUE__MAX_DELIVERIES": str(MAX_DELIVERIES),
        "IMAGEGENX_SERVING__IDLE_EXIT_S": "600",
        "IMAGEGENX_SERVING__SENSOR_WAIT_S": "1",
    }
    with prepared_stack("tests.support.painting_location", **settings) as (stack, _):
        yield stack


def submit_together(stack, texts):
    """Submit requests in one step, so that one worker claims all of them."""
    registry = open_registry(stack.settings)
    tasks = [NewTask(id=new_task_id(), request=parse_request({"text": text}, registry)) for text in texts]
    return stack.queue.submit_batch(tasks, owner="soak", callback_url=None).task_ids


def ended(stack, task_ids):
    return all(task.status.ended for task in stack.queue.tasks(list(task_ids)))


@pytest.mark.timeout(600)
def test_a_request_that_crashes_every_serving_run_fails_alone_and_delays_nobody_by_a_lease(stack):
    (first,) = submit_together(stack, ["a warm engine"])
    wait_for("a warm serving run", lambda: ended(stack, [first]), DEADLINE_S)

    poison, *healthy = submit_together(stack, ["poison", *(f"beside {n}" for n in range(6))])
    deadline = time.monotonic() + DEADLINE_S
    while not ended(stack, [poison]):
        assert time.monotonic() < deadline
        healthy.append(stack.submit({"text": f"behind {len(healthy)}"}, f"behind-{len(healthy)}"))
        wait_for("the one behind", lambda: ended(stack, healthy[-1:]), DEADLINE_S)
    wait_for("those beside", lambda: ended(stack, healthy), DEADLINE_S)

    given_up = stack.task(poison)
    assert given_up["status"] == TaskStatus.FAILED
    assert given_up["error_msg"].startswith(
        f"Given up after {MAX_DELIVERIES} attempts: each worker that tried it ended"
    )
    assert stack.queue.depth().dead == 1
    done = stack.queue.tasks(healthy)
    assert {task.status for task in done} == {TaskStatus.SUCCESS}
    keys = [one.key for one in open_store(stack.settings.store).list()]
    assert {len(objects_of(task.id, keys)) for task in done} == {1}
    assert {task.deliveries for task in done} == {1, 2}  # those beside it were with it once
    waited_s = [task.updated_at_s - task.created_at_s for task in done]
    assert max(waited_s) < LEASE_S


def test_each_of_its_serving_runs_shows_as_failed_with_the_reason(stack):
    with DagsterInstance.from_config(str(stack.home / "dagster")) as instance:
        runs = [run for run in instance.get_runs() if run.status is DagsterRunStatus.FAILURE]
        reasons = [event.message for run in runs for event in instance.all_logs(run.run_id) if event.is_dagster_event]

    assert len(runs) == MAX_DELIVERIES
    assert sum("was terminated by signal 9 (SIGKILL)" in reason for reason in reasons) == MAX_DELIVERIES


def test_dagster_counts_every_serving_run_in_the_pool_of_gpu_slots_and_purges_old_ticks(stack):
    with DagsterInstance.from_config(str(stack.home / "dagster")) as instance:
        runs = [run for run in instance.get_runs() if run.job_name == SERVING_JOB]
        limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
        pools = instance.get_concurrency_config().pool_config
        purged = [
            instance.get_tick_retention_settings(kind) for kind in (InstigatorType.SENSOR, InstigatorType.SCHEDULE)
        ]

    assert {frozenset(run.run_op_concurrency.all_pools) for run in runs} == {frozenset({SERVING_POOL})}
    assert (limits[SERVING_POOL], pools.pool_granularity.value) == (stack.settings.serving.gpu_slots, "run")
    assert {days > 0 for kept in purged for days in kept.values()} == {True}  # -1 would be for ever

import threading
import time

import dagster as dg
import pytest

from configs.settings import load_settings
from models.request import GenerationRequest
from resources.queue import NewTask, WorkerState, new_task_id, open_queue
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource
from sensors.queue_sensor import queue_sensor
from sensors.serving_runs import POOL, SERVING_JOB, SLOT_TAG, Silence


@dg.op
def nothing():
    """Do nothing."""


@dg.job(name=SERVING_JOB)
def serving_run():
    nothing()


class Sensor:
    """The queue sensor over a real queue and a Dagster instance."""

    def __init__(self, instance):
        self.instance, self.cursor = instance, None
        self.queue = open_queue(load_settings())

    def submit(self, count=1):
        request = GenerationRequest(text="a red mug", model_type="tiny")
        for _ in range(count):
            self.queue.submit(NewTask(id=new_task_id(), request=request), owner="anna")

    def tick(self):
        """The slots that the sensor asks for, or why it asks for none."""
        resources = {"settings": SettingsResource(), "request_queue": RequestQueueResource()}
        with dg.build_sensor_context(instance=self.instance, resources=resources, cursor=self.cursor) as context:
            result = queue_sensor(context)
            self.cursor = context.cursor
        if result.skip_reason:
            return result.skip_reason.skip_message
        return [request.tags[SLOT_TAG] for request in result.run_requests]

    def let_pass(self, seconds):
        """Let the last look be so much longer ago."""
        last = Silence.from_cursor(self.cursor)
        self.cursor = Silence(last.looked_at_s - seconds, last.by_run_s).to_cursor()

    def run(self, status, slot=0):
        """A serving run in this state."""
        run = self.instance.create_run_for_job(serving_run, status=status, tags={SLOT_TAG: str(slot)})
        if status is dg.DagsterRunStatus.STARTED:
            self.instance.handle_new_event(
                dg._core.events.log.EventLogEntry(
                    error_info=None,
                    level=20,
                    user_message="",
                    run_id=run.run_id,
                    timestamp=time.time() - 3600,
                    dagster_event=dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=SERVING_JOB),
                )
            )
        return run.run_id

    def beat(self, run_id, worker="worker"):
        self.queue.renew(WorkerState(id=worker, run_id=run_id, started_at_s=0), [])


@pytest.fixture
def sensor(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    monkeypatch.setenv("IMAGEGENX_SERVING__SENSOR_WAIT_S", "0.05")
    monkeypatch.setenv("IMAGEGENX_SERVING__BACKLOG_PER_RUN", "4")
    monkeypatch.setenv("IMAGEGENX_SERVING__GPU_SLOTS", "2")
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        sensor = Sensor(instance)
        yield sensor
        sensor.queue.close()


def test_an_empty_queue_starts_nothing(sensor):
    assert sensor.tick() == "The request queue is empty."


@pytest.mark.parametrize(("waiting", "slots"), [(1, ["0"]), (4, ["0"]), (5, ["0", "1"]), (40, ["0", "1"])])
def test_the_backlog_decides_how_many_runs_start_and_each_gets_a_slot(sensor, waiting, slots):
    sensor.submit(waiting)

    assert sensor.tick() == slots


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_a_run_that_is_starting_has_its_slot_already(sensor, status):
    sensor.submit(40)
    sensor.run(status, slot=0)

    assert sensor.tick() == ["1"]

    sensor.run(status, slot=1)
    assert sensor.tick() == "All 2 GPU slots have a serving run."


def test_one_run_is_enough_for_a_small_backlog(sensor):
    sensor.submit(3)
    sensor.run(dg.DagsterRunStatus.STARTING, slot=1)

    assert sensor.tick() == "1 serving runs are enough."


def test_a_request_ends_the_wait_at_once(sensor, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_SERVING__SENSOR_WAIT_S", "30")
    threading.Timer(0.3, sensor.submit).start()
    began = time.monotonic()

    assert sensor.tick() == ["0"]

    assert time.monotonic() - began < 10


def test_the_sensor_claims_nothing(sensor):
    sensor.submit(3)

    sensor.tick()

    assert sum(sensor.queue.depth().waiting.values()) == 3


def test_the_pool_of_serving_runs_is_bounded_by_the_slots(sensor):
    sensor.submit()

    sensor.tick()

    limits = {pool.name: pool.limit for pool in sensor.instance.event_log_storage.get_pool_limits()}
    assert limits == {POOL: 2}


def test_a_started_run_without_heartbeat_is_marked_failed_and_replaced(sensor):
    sensor.submit()
    lost = sensor.run(dg.DagsterRunStatus.STARTED)

    for _ in range(3):
        assert sensor.tick() == "1 serving runs are enough."
        sensor.let_pass(25)
    assert sensor.tick() == ["0"]

    assert sensor.instance.get_run_by_id(lost).status is dg.DagsterRunStatus.FAILURE
    (event,) = sensor.instance.all_logs(lost, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.message == "No heartbeat of this serving run for 60 s."


def test_a_run_that_is_silent_only_because_redis_was_away_lives(sensor):
    """After an outage longer than a lease nobody's heartbeat is known until the next one."""
    sensor.submit()
    alive = sensor.run(dg.DagsterRunStatus.STARTED)
    sensor.beat(alive)
    sensor.tick()
    sensor.queue.worker_ended("worker")
    sensor.let_pass(3600)

    assert sensor.tick() == "1 serving runs are enough."
    sensor.beat(alive)
    sensor.let_pass(25)
    assert sensor.tick() == "1 serving runs are enough."

    sensor.queue.worker_ended("worker")
    sensor.let_pass(3600)
    assert sensor.tick() == "1 serving runs are enough."
    assert sensor.instance.get_run_by_id(alive).status is dg.DagsterRunStatus.STARTED


def test_a_run_that_waits_long_for_its_start_is_left_to_run_monitoring(sensor):
    sensor.submit()
    starting = sensor.run(dg.DagsterRunStatus.STARTING)

    for _ in range(4):
        assert sensor.tick() == "1 serving runs are enough."
        sensor.let_pass(3600)

    assert sensor.instance.get_run_by_id(starting).status is dg.DagsterRunStatus.STARTING


def test_a_cursor_of_another_version_is_begun_anew(sensor):
    sensor.submit()
    sensor.run(dg.DagsterRunStatus.STARTED)
    sensor.cursor = '{"since": 3}'

    assert sensor.tick() == "1 serving runs are enough."


def test_a_started_run_with_a_heartbeat_lives(sensor):
    sensor.submit()
    alive = sensor.run(dg.DagsterRunStatus.STARTED)
    sensor.beat(alive)

    assert sensor.tick() == "1 serving runs are enough."

    assert sensor.instance.get_run_by_id(alive).status is dg.DagsterRunStatus.STARTED


def test_what_a_dead_runs_worker_had_can_be_taken_over_at_once(sensor):
    dead = sensor.run(dg.DagsterRunStatus.FAILURE)
    sensor.submit()
    sensor.beat(dead)
    assert len(sensor.queue.claim("worker", 1)) == 1
    assert sensor.queue.depth().backlog == 0

    assert sensor.tick() == ["0"]

    assert sensor.queue.depth().abandoned == 1
    assert sensor.queue.workers() == []


def test_the_workers_of_another_dagster_on_the_same_redis_are_left_alone(sensor):
    sensor.submit()
    sensor.beat("a run of another instance")
    sensor.queue.claim("worker", 1)

    sensor.tick()

    assert sensor.queue.depth().processing == 1
    assert [worker.id for worker in sensor.queue.workers()] == ["worker"]

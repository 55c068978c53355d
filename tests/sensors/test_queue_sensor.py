import threading
import time

import dagster as dg
import pytest

from configs.serving_settings import ServingSettings
from configs.settings import load_settings
from models.request import GenerationRequest, Priority
from resources.dagster_names import SERVING_POOL
from resources.queue import NewTask, QueueDepth, WorkerState, new_task_id, open_queue
from resources.request_queue_resource import RequestQueueResource
from resources.settings_resource import SettingsResource
from sensors.queue_sensor import queue_sensor
from sensors.serving_runs import SERVING_JOB, Silence, runs_wanted


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
        """How many runs the sensor asks for, or why it asks for none."""
        resources = {"settings": SettingsResource(), "request_queue": RequestQueueResource(settings=SettingsResource())}
        with dg.build_sensor_context(instance=self.instance, resources=resources, cursor=self.cursor) as context:
            result = queue_sensor(context)
            self.cursor = context.cursor
        if result.skip_reason:
            return result.skip_reason.skip_message
        return len(result.run_requests)

    def let_pass(self, seconds):
        """Let the last look be so much longer ago."""
        last = Silence.from_cursor(self.cursor)
        self.cursor = Silence(last.looked_at_s - seconds, last.by_run_s).to_cursor()

    def run(self, status):
        """A serving run in this state."""
        run = self.instance.create_run_for_job(serving_run, status=status)
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

    def beat(self, run_id, worker="worker", **counters):
        self.queue.renew(WorkerState(id=worker, run_id=run_id, started_at_s=0, counters=counters), [])


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


@pytest.mark.parametrize(("waiting", "runs"), [(1, 1), (4, 1), (5, 2), (40, 2)])
def test_the_backlog_decides_how_many_runs_start(sensor, waiting, runs):
    sensor.submit(waiting)

    assert sensor.tick() == runs


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_a_run_that_is_starting_counts(sensor, status):
    sensor.submit(40)
    sensor.run(status)

    assert sensor.tick() == 1

    sensor.run(status)
    assert sensor.tick() == "All 2 GPU slots have a serving run."


def test_one_run_is_enough_for_a_small_backlog(sensor):
    sensor.submit(3)
    sensor.run(dg.DagsterRunStatus.STARTING)

    assert sensor.tick() == "1 serving runs are enough."


def test_runs_are_kept_that_nothing_calls_for_if_the_settings_say_so(sensor, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_SERVING__MIN_RUNS", "1")

    assert sensor.tick() == 1

    sensor.run(dg.DagsterRunStatus.STARTING)
    assert sensor.tick() == "The request queue is empty."


def test_what_pictures_take_and_what_is_in_work_decide(sensor, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_SERVING__GPU_SLOTS", "20")
    sensor.submit(40)
    run = sensor.run(dg.DagsterRunStatus.STARTED)
    # 10 s of the GPU for each picture, so that 40 of them are work of a minute for 7 runs.
    sensor.beat(run, pictures=10, seconds_denoise=80, seconds_decode=15, seconds_text=5, seconds_store=1000)
    assert sensor.tick() == 6

    assert sensor.queue.claim("worker", 20, 1)
    sensor.submit(20)
    assert sensor.tick() == 9


def depth(waiting=0, jobs=0, processing=0, oldest_s=0.0):
    waiting = {Priority.INTERACTIVE: waiting, Priority.BULK: 0}
    return QueueDepth(waiting, jobs, processing, abandoned=0, oldest_waiting_s=oldest_s, dead=0)


def state(**counters):
    return WorkerState(id="w", started_at_s=0, counters=counters)


@pytest.mark.parametrize(
    ("found", "workers", "runs", "wanted"),
    [
        (depth(), [], 0, 0),
        (depth(jobs=64), [], 0, 2),
        (depth(jobs=64), [state(pictures=1, seconds_denoise=60)], 1, 8),
        (depth(waiting=1, processing=7), [state(pictures=4, seconds_denoise=60, seconds_upscale=60)], 1, 4),
        (depth(waiting=1, oldest_s=61), [state()], 1, 2),
        (depth(waiting=1, oldest_s=61), [state()], 2, 1),
        (depth(waiting=1, oldest_s=59), [state()], 1, 1),
    ],
    ids=["idle", "unknown", "bounded", "in work", "waits long", "one is starting", "waits"],
)
def test_the_number_of_runs_follows_the_work(found, workers, runs, wanted):
    assert runs_wanted(found, workers, runs, ServingSettings(gpu_slots=8)) == wanted


def test_a_request_ends_the_wait_at_once(sensor, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_SERVING__SENSOR_WAIT_S", "30")
    threading.Timer(0.3, sensor.submit).start()
    began = time.monotonic()

    assert sensor.tick() == 1

    assert time.monotonic() - began < 10


def test_the_sensor_claims_nothing(sensor):
    sensor.submit(3)

    sensor.tick()

    assert sum(sensor.queue.depth().waiting.values()) == 3


def test_the_pool_of_serving_runs_is_bounded_by_the_slots(sensor):
    sensor.submit()

    sensor.tick()

    limits = {pool.name: pool.limit for pool in sensor.instance.event_log_storage.get_pool_limits()}
    assert limits == {SERVING_POOL: 2}


def test_a_started_run_without_heartbeat_is_marked_failed_and_replaced(sensor):
    sensor.submit()
    lost = sensor.run(dg.DagsterRunStatus.STARTED)

    for _ in range(3):
        assert sensor.tick() == "1 serving runs are enough."
        sensor.let_pass(25)
    assert sensor.tick() == 1

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

    assert sensor.tick() == 1

    assert sensor.queue.depth().abandoned == 1
    assert sensor.queue.workers() == []


def test_the_workers_of_another_dagster_on_the_same_redis_are_left_alone(sensor):
    sensor.submit()
    sensor.beat("a run of another instance")
    sensor.queue.claim("worker", 1)

    sensor.tick()

    assert sensor.queue.depth().processing == 1
    assert [worker.id for worker in sensor.queue.workers()] == ["worker"]

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import dagster as dg
import pytest
import sqlalchemy

from configs.settings import load_settings
from imagegenx_assets.on_demand import DAYS
from models.admission import parse_request
from models.engine import BatchingEngine
from models.registry import open_registry
from ops.serve_requests import materialization
from ops.serving import ResultGroup
from resources.queue import NewTask, TaskStatus, new_task_id, open_queue
from tests.support.random_model import write_random_model
from tests.support.waiting import wait_until

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Serving:
    """A queue, and serving runs over it in this process."""

    def __init__(self, instance):
        self.instance, self.settings = instance, load_settings()
        self.queue, self.registry = open_queue(self.settings), open_registry(self.settings)

    def submit(self, **params):
        request = parse_request({"text": "a red mug", "params": {"resolution": "64x64", **params}}, self.registry)
        return self.queue.submit(NewTask(id=new_task_id(), request=request), owner="anna").id

    def ended(self, task_id):
        """Wait until the task has ended."""
        deadline = time.monotonic() + 60
        while not self.queue.task(task_id).status.ended and time.monotonic() < deadline:
            time.sleep(0.02)

    def run(self):
        from imagegenx_assets.definitions import defs

        job = defs.resolve_job_def("serving_run")
        return job.execute_in_process(run_config=QUIET, instance=self.instance, raise_on_error=False)

    def materializations(self):
        records = self.instance.fetch_materializations(dg.AssetKey("on_demand_images"), limit=100).records
        return [
            (record.partition_key, {name: value.value for name, value in record.asset_materialization.metadata.items()})
            for record in reversed(records)
        ]


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    return write_random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def serving(tmp_path, monkeypatch, random_model):
    short = {"IMAGEGENX_SERVING__IDLE_EXIT_S": "1", "IMAGEGENX_QUEUE__FSYNC": "everysec"}
    for name, value in {**random_model, **short, "IMAGEGENX_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        serving = Serving(instance)
        yield serving
        serving.queue.close()


def test_a_serving_run_reports_its_pictures_as_one_group_of_today(serving):
    tasks = [serving.submit() for _ in range(3)]

    assert serving.run().success

    ((day, metadata),) = serving.materializations()
    created = datetime.fromtimestamp(serving.queue.task(tasks[0]).created_at_s, UTC)
    assert day == created.strftime("%Y-%m-%d")
    assert day in DAYS.get_partition_keys()
    assert (metadata["pictures"], metadata["tasks_success"], metadata["tasks_failed"]) == (3, 3, 0)
    stored = {task.result.pictures[0].original_key for task in serving.queue.tasks(tasks)}
    assert set(metadata["keys"]) == stored
    assert metadata["denoise_s"] > 0
    assert metadata["contact_sheet"].startswith("![contact sheet](data:image/webp;base64,")


def test_a_failed_request_is_counted_and_its_reason_shown(serving):
    request = parse_request({"text": "a mug", "params": {"resolution": "64x64"}}, serving.registry)
    gone = request.model_copy(update={"image_url": "store:uploads/gone.png"})
    task_id = serving.queue.submit(NewTask(id=new_task_id(), request=gone), owner="anna").id

    assert serving.run().success

    ((_, metadata),) = serving.materializations()
    assert (metadata["pictures"], metadata["tasks_failed"]) == (0, 1)
    assert metadata["failures"].records[0].data == {"task": task_id, "error": serving.queue.task(task_id).error}


def test_a_run_that_is_told_to_end_hands_over_and_succeeds(serving, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_SERVING__IDLE_EXIT_S", "3600")
    task_id = serving.submit()

    def interrupt():
        serving.ended(task_id)
        os.kill(os.getpid(), signal.SIGTERM)

    former = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=interrupt).start()
    result = serving.run()
    signal.signal(signal.SIGTERM, former)

    assert result.success
    assert serving.queue.task(task_id).status is TaskStatus.SUCCESS
    assert serving.queue.workers() == []
    assert [metadata["pictures"] for _, metadata in serving.materializations()] == [1]


@pytest.fixture
def long_serving(serving, monkeypatch):
    """Serving runs that would serve for an hour, and report often."""
    monkeypatch.setenv("IMAGEGENX_SERVING__IDLE_EXIT_S", "3600")
    monkeypatch.setenv("IMAGEGENX_SERVING__REPORT_EVERY_S", "0.1")
    return serving


def serving_threads():
    return [thread for thread in threading.enumerate() if thread.name in ("serving", "heartbeat")]


def test_a_run_whose_results_cannot_be_reported_serves_no_more(long_serving, monkeypatch):
    def refuse(event, **_):
        if event.dagster_event and event.dagster_event.event_type_value == "ASSET_MATERIALIZATION":
            raise RuntimeError("no such event")
        handle(event)

    handle = long_serving.instance.handle_new_event
    monkeypatch.setattr(long_serving.instance, "handle_new_event", refuse)
    long_serving.submit()

    result = long_serving.run()

    assert not result.success
    assert serving_threads() == []
    assert long_serving.queue.workers() == []


def test_an_outage_of_dagsters_storage_ends_nothing_and_loses_no_report(long_serving, monkeypatch):
    """Neither the look at the run's status nor the report finds the database, several times over."""
    away, failed = threading.Event(), []

    def unless_away(call):
        def answer(*given, **named):
            if away.is_set():
                failed.append(call)
                raise sqlalchemy.exc.OperationalError("SELECT", {}, OSError("the database system is shutting down"))
            return call(*given, **named)

        return answer

    def serve_through_an_outage():
        long_serving.ended(long_serving.submit())
        away.set()
        wait_until(lambda: len(failed) > 3)
        long_serving.ended(long_serving.submit())
        away.clear()
        wait_until(lambda: sum(metadata["pictures"] for _, metadata in long_serving.materializations()) == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    instance, former = long_serving.instance, signal.getsignal(signal.SIGTERM)
    for name in ("get_run_by_id", "handle_new_event"):
        monkeypatch.setattr(instance, name, unless_away(getattr(instance, name)))
    threading.Thread(target=serve_through_an_outage).start()
    result = long_serving.run()
    signal.signal(signal.SIGTERM, former)

    assert result.success


def test_a_run_that_dagster_takes_for_dead_serves_no_more(long_serving, monkeypatch):
    def declare_dead():
        long_serving.ended(long_serving.submit())
        (run,) = long_serving.instance.get_runs()
        long_serving.instance.report_run_failed(run, "No heartbeat of this serving run for 60 s.")

    threading.Thread(target=declare_dead).start()
    result = long_serving.run()

    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.user_failure_data.description == (
        "Dagster has this run as failure while it serves: it stops, others are started in its place."
    )
    assert serving_threads() == []


@pytest.mark.timeout(60)
def test_a_process_that_a_hung_thread_would_keep_for_ever_is_ended():
    code = (
        "import threading; from ops.serve_requests import end_process_within\n"
        "threading.Thread(target=threading.Event().wait).start(); end_process_within(0.1)\n"
    )

    assert subprocess.run([sys.executable, "-c", code]).returncode == 1


def test_a_run_whose_engine_hangs_fails_with_the_reason_and_its_process_is_ended(long_serving, monkeypatch):
    patience_s = []
    monkeypatch.setattr("ops.serve_requests.end_process_within", patience_s.append)
    monkeypatch.setattr(BatchingEngine, "submit", lambda *given: threading.Event())
    monkeypatch.setattr(BatchingEngine, "cancel", lambda *given: None)
    monkeypatch.setenv("IMAGEGENX_SERVING__STEP_TIMEOUT_S", "1")
    long_serving.submit()

    result = long_serving.run()

    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "the engine has been at one step for more than serving.step_timeout_s = 1 s" in str(
        failure.step_failure_data
    )
    assert patience_s == [60.0]
    assert serving_threads() == []


def test_a_materialization_stays_small_however_many_pictures_it_stands_for():
    group = ResultGroup("2026-11-23", pictures=100_000, keys=[f"20261123/img_{n:040}_512x512.webp" for n in range(100)])

    event = materialization(group)

    assert len(str(event)) < 30_000
    assert event.partition == "2026-11-23"

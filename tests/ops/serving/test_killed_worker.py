"""Workers in processes of their own, killed without warning."""

import os
import signal
import statistics

import pytest

from benchmarks.stand_in import MODEL, write_stand_in_model
from configs.settings import load_settings
from models.admission import parse_request
from models.picture_job import PictureJob
from models.registry import open_registry
from resources.local_store import LocalObjectStore
from resources.mark_records import RECORDS
from resources.queue import NewTask, TaskStatus, catalog_owner, new_task_id, open_queue
from tests.support import stand_in_worker
from tests.support.forked import Forked
from tests.support.recipes import a_recipe
from tests.support.stand_in_worker import SLOW_PICTURE_S
from tests.support.waiting import wait_until

MAX_DELIVERIES = 3
LEASE_S = 60
"""Longer than any process here is held up: the queue is told of deaths, as by the sensor of failed runs."""
SHORT_LEASE_S = 5
"""Where nobody tells."""
SERVED_WITHIN_S = 240
"""Workers are started one after the other, which takes long on a busy machine."""


class Workers:
    """A queue, and worker processes with an engine that paints at once; a prompt with `poison` kills its worker."""

    def __init__(self):
        self.settings = load_settings()
        self.queue, self.registry = open_queue(self.settings), open_registry(self.settings)
        self.store = LocalObjectStore(self.settings.store.path)
        self.processes = []

    def submit(self, text):
        return self.submit_together([text])[0]

    def submit_together(self, texts):
        """Submit requests in one step, so that one worker claims all of them."""
        requests = [parse_request({"text": text, "params": {"resolution": "64x64"}}, self.registry) for text in texts]
        tasks = [NewTask(id=new_task_id(), request=request) for request in requests]
        return self.queue.submit_batch(tasks, owner="anna", callback_url=None).task_ids

    def ensure(self, count):
        """Ask for the pictures of a catalog."""
        release = self.registry.release(MODEL)
        plain = a_recipe(model=MODEL, release=release, engine="stand-in/cpu/float32")
        jobs = [PictureJob(recipe=plain.model_copy(update={"seed": n}), format="png", quality=90) for n in range(count)]
        self.queue.ensure(jobs, owner=catalog_owner("spring"), client="run")
        return jobs

    def start(self):
        """A worker process."""
        self.processes.append(Forked(stand_in_worker.main))
        return self.processes[-1]

    def serve_until(self, condition):
        """Keep one worker process alive until the condition holds."""

        def served():
            if not self.processes or self.processes[-1].poll() is not None:
                self.tell_of_deaths()
                self.start()
            return condition()

        wait_until(served, SERVED_WITHIN_S)

    def kill(self, process):
        """Kill a worker process, which the queue is told."""
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.tell_of_deaths()

    def tell_of_deaths(self):
        """Tell the queue of the workers whose process has ended."""
        for state in self.queue.workers():
            if any(f"-{process.pid}-" in state.id for process in self.processes if process.poll() is not None):
                self.queue.worker_ended(state.id)

    def keys(self):
        """Every object in the store, but for the records of marks."""
        return [one.key for one in self.store.list() if not one.key.startswith(RECORDS)]

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.queue.close()


def middle_wait_s(tasks):
    """How long a task of these had waited for its end: of a machine that is busy for a moment, one or two wait long."""
    return statistics.median(task.updated_at_s - task.created_at_s for task in tasks)


@pytest.fixture
def workers(tmp_path, monkeypatch, request):
    lease_s = getattr(request, "param", LEASE_S)
    lease = {"IMAGEGENX_QUEUE__LEASE_S": str(lease_s), "IMAGEGENX_QUEUE__MAX_DELIVERIES": str(MAX_DELIVERIES)}
    home = {
        "IMAGEGENX_HOME": str(tmp_path),
        "IMAGEGENX_QUEUE__FSYNC": "everysec",
        "IMAGEGENX_PICTURES__THUMBNAIL_PX": "32",
    }
    for name, value in {**write_stand_in_model(tmp_path / "models"), **lease, **home}.items():
        monkeypatch.setenv(name, value)
    workers = Workers()
    yield workers
    workers.close()


def test_a_request_that_kills_every_worker_ends_in_the_dead_letters_and_takes_nobody_with_it(workers):
    before = [workers.submit(f"mug {n}") for n in range(4)]
    poison = workers.submit("poison")
    after = [workers.submit(f"cup {n}") for n in range(4)]

    workers.serve_until(lambda: all(task.status.ended for task in workers.queue.tasks([*before, poison, *after])))

    dead = workers.queue.task(poison)
    assert dead.status is TaskStatus.FAILED
    assert str(MAX_DELIVERIES) in dead.error
    assert workers.queue.depth().dead == 1
    good = workers.queue.tasks([*before, *after])
    assert {task.status for task in good} == {TaskStatus.SUCCESS}
    assert len(workers.keys()) == 2 * len(good)
    assert sum(process.poll() == -signal.SIGKILL for process in workers.processes) == MAX_DELIVERIES


@pytest.mark.parametrize("workers", [SHORT_LEASE_S], indirect=True)
def test_those_with_a_request_that_kills_wait_for_one_lease_alone_though_nobody_tells_of_the_deaths(workers):
    for _ in range(MAX_DELIVERIES + 1):
        workers.start()
    wait_until(lambda: len(workers.queue.workers()) == MAX_DELIVERIES + 1)

    poison, *beside = workers.submit_together(["poison", *(f"mug {n}" for n in range(6))])
    wait_until(lambda: any(process.poll() is not None for process in workers.processes))
    behind = []
    while not workers.queue.task(poison).status.ended:
        behind.append(workers.submit(f"cup {len(behind)}"))
        wait_until(lambda: workers.queue.task(behind[-1]).status.ended)
    wait_until(lambda: all(task.status.ended for task in workers.queue.tasks(beside)))

    assert sum(process.poll() == -signal.SIGKILL for process in workers.processes) == MAX_DELIVERIES
    assert workers.queue.task(poison).status is TaskStatus.FAILED
    assert {task.deliveries for task in workers.queue.tasks(beside)} == {2}
    assert {task.deliveries for task in workers.queue.tasks(behind)} == {1}
    # Not one lease for each death: the last tries of the other one, a lease each, go on when they are done.
    given_up_at_s = workers.queue.task(poison).updated_at_s
    assert max(task.updated_at_s for task in workers.queue.tasks(beside)) < given_up_at_s - SHORT_LEASE_S / 2
    assert middle_wait_s(workers.queue.tasks(behind)) < SHORT_LEASE_S / 2


@pytest.mark.parametrize("workers", [SHORT_LEASE_S], indirect=True)
def test_those_behind_what_a_killed_worker_had_wait_for_less_than_a_lease_though_each_of_that_is_slow(workers):
    victim = workers.start()
    wait_until(workers.queue.workers)
    slow = workers.submit_together([f"slow mug {n}" for n in range(12)])
    wait_until(lambda: workers.queue.depth().processing == len(slow))
    (state,) = workers.queue.workers()
    victim.kill()
    victim.wait()
    workers.queue.worker_ended(state.id)
    workers.start()
    wait_until(workers.queue.workers)

    behind = []
    while not all(task.status.ended for task in workers.queue.tasks(slow)):
        behind.append(workers.submit(f"cup {len(behind)}"))
        wait_until(lambda: workers.queue.task(behind[-1]).status.ended)

    assert {task.status for task in workers.queue.tasks([*slow, *behind])} == {TaskStatus.SUCCESS}
    assert {task.deliveries for task in workers.queue.tasks(behind)} == {1}
    assert middle_wait_s(workers.queue.tasks(behind)) < SHORT_LEASE_S < len(slow) * SLOW_PICTURE_S


def test_a_worker_killed_at_random_moments_loses_and_doubles_nothing(workers):
    tasks = [workers.submit(f"mug {n}") for n in range(60)]
    for _ in range(3):
        process = workers.start()
        seen = [sum(task.status.ended for task in workers.queue.tasks(tasks))]
        workers.serve_until(
            lambda seen=seen: (
                sum(task.status.ended for task in workers.queue.tasks(tasks)) > seen[0]
                or all(task.status.ended for task in workers.queue.tasks(tasks))
            )
        )
        workers.kill(process)

    workers.serve_until(lambda: all(task.status.ended for task in workers.queue.tasks(tasks)))

    assert {task.status for task in workers.queue.tasks(tasks)} == {TaskStatus.SUCCESS}
    assert len(workers.keys()) == 2 * len(tasks)


def test_a_catalogs_pictures_survive_killed_workers_and_none_is_stored_twice(workers):
    jobs = workers.ensure(60)
    outcomes, written_s = {}, {}

    def collect():
        """What has ended by now, and when each picture was stored."""
        for outcome in workers.queue.outcomes("run"):
            outcomes[outcome.id] = outcome
            written_s.setdefault(outcome.id, workers.store.stat(outcome.key).written_s)
        return len(outcomes)

    for _ in range(2):
        process, before = workers.start(), collect()
        workers.serve_until(lambda before=before: collect() > before)
        workers.kill(process)
    workers.serve_until(lambda: collect() == len(jobs))

    assert {outcome.error for outcome in outcomes.values()} == {""}
    stored = {one.key: one.written_s for one in workers.store.list()}
    assert stored == {outcome.key: written_s[outcome.id] for outcome in outcomes.values()}
    workers.queue.forget("run", outcomes)
    assert workers.queue.depth().backlog == 0

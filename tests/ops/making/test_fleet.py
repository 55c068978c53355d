import itertools
import threading
from contextlib import contextmanager

import pytest

from configs.settings import Settings
from models.picture_job import PictureJob, PictureOutcome
from models.placement import Placement
from models.resolution import Resolution
from ops.making import fleet
from ops.making.fleet import FleetMaker
from resources.queue import QueueUnavailableError, catalog_owner, open_queue
from tests.support.recipes import a_recipe
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until


def a_job(seed):
    return PictureJob(recipe=a_recipe(seed=seed), format="webp", quality=95)


def answer(queue, claim, **fields):
    job = PictureJob.model_validate(claim.task.request)
    return queue.answer(claim, PictureOutcome(id=job.id, recipe=job.recipe, key="pictures/x", **fields))


class Worker:
    """A thread that does jobs as it is told."""

    def __init__(self, settings, work=answer):
        self._queue, self._work = open_queue(settings), work
        self._ending = threading.Event()
        self.done = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ending.is_set():
            try:
                for claim in self._queue.claim(f"w{id(self)}", 4, 0.05):
                    if self._work(self._queue, claim):
                        self.done.append(claim.id)
            except QueueUnavailableError:
                self._ending.wait(0.05)

    def end(self):
        self._ending.set()
        self._thread.join()
        self._queue.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def settings(server, tmp_path, request):
    name = f"t{abs(hash(request.node.name))}"
    queue = {"url": server.url, "namespace": name, "lease_s": 2}
    return Settings(home=tmp_path, queue=queue, serving={"outage_patience_s": 30})


@pytest.fixture
def queue(settings):
    queue = open_queue(settings)
    yield queue
    queue.close()


@contextmanager
def working(settings, count=1, work=answer):
    workers = [Worker(settings, work) for _ in range(count)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.end()


def ensure(queue, settings, jobs, on_step=lambda *step: None):
    return FleetMaker(queue, "spring", settings).ensure(jobs, on_step)


def nothing_is_left(queue):
    """Redis holds no job and no client any more."""
    kinds = ("task:*", "waiters:*", "wanted:*", "answers:*", "waiting:jobs")
    return not any(queue._link.client.keys(f"{queue._link.prefix}{kind}") for kind in kinds)


def test_every_job_has_one_outcome_and_nothing_stays_in_redis(queue, settings):
    jobs = [a_job(seed) for seed in range(300)]

    with working(settings, 3) as workers:
        outcomes = list(ensure(queue, settings, jobs))

    assert sorted(outcome.id for outcome in outcomes) == sorted(job.id for job in jobs)
    assert sum(len(worker.done) for worker in workers) == 300
    assert nothing_is_left(queue)


def test_jobs_are_read_as_there_is_room_for_them_and_redis_holds_no_more(queue, settings):
    read = []

    def reading():
        for seed in itertools.count():
            read.append(seed)
            yield a_job(seed)

    with working(settings):
        outcomes = ensure(queue, settings, reading())
        for _ in range(200):
            next(outcomes)
        assert len(read) <= 200 + fleet.SHORTEST_WINDOW
        assert queue._link.client.zcard(f"{queue._link.prefix}waiting:jobs") <= fleet.SHORTEST_WINDOW
        outcomes.close()


def test_a_job_that_fails_fails_alone(queue, settings):
    bad = a_job(1)

    def work(queue, claim):
        return answer(queue, claim, error="ghosts have no colour" if claim.id == bad.id else "")

    with working(settings, work=work):
        outcomes = {outcome.id: outcome.error for outcome in ensure(queue, settings, map(a_job, range(3)))}

    assert outcomes == {a_job(0).id: "", bad.id: "ghosts have no colour", a_job(2).id: ""}


def test_who_stops_waiting_withdraws_what_nobody_else_wants(queue, settings):
    outcomes = ensure(queue, settings, map(a_job, itertools.count()))
    thread = threading.Thread(target=lambda: next(outcomes))
    thread.start()
    wait_until(lambda: queue.depth().jobs == fleet.SHORTEST_WINDOW)
    (claim,) = queue.claim("w", 1)
    answer(queue, claim)
    thread.join()

    outcomes.close()

    assert queue.depth().jobs == 0
    assert nothing_is_left(queue)


def test_a_client_that_is_killed_leaves_its_jobs_and_the_next_one_joins_them(queue, settings):
    """A killed client says nothing: its jobs wait on, and are done once for whoever wants them now."""
    jobs = [a_job(seed) for seed in range(20)]
    queue.ensure(jobs, owner=catalog_owner("spring"), client="killed")
    claims = queue.claim("w", 5)
    for claim in claims:
        answer(queue, claim)

    with working(settings) as (worker,):
        outcomes = list(ensure(queue, settings, jobs[5:]))

    assert sorted(outcome.id for outcome in outcomes) == sorted(job.id for job in jobs[5:])
    assert len(worker.done) == 15


def test_a_picture_that_is_no_longer_stored_is_made_again_although_it_was_made_lately(queue, settings):
    job = a_job(1)
    queue.ensure([job], owner=catalog_owner("summer"), client="other")
    (claim,) = queue.claim("w", 1)
    answer(queue, claim, digest="gone")

    with working(settings) as (worker,):
        (outcome,) = ensure(queue, settings, [job])

    assert (outcome.digest, worker.done) == ("", [job.id])


def test_an_outage_of_redis_is_waited_out(tmp_path):
    with running_redis(tmp_path) as server:
        queue_settings = {"url": server.url, "lease_s": 2, "connect_timeout_s": 1}
        settings = Settings(home=tmp_path, queue=queue_settings, serving={"outage_patience_s": 60})
        queue = open_queue(settings)
        outcomes = ensure(queue, settings, map(a_job, range(150)))
        with working(settings, 2):
            found = [next(outcomes) for _ in range(20)]
            server.kill()
            threading.Timer(1.5, server.start).start()
            found += outcomes
        queue.close()

    assert sorted(outcome.id for outcome in found) == sorted(a_job(seed).id for seed in range(150))


def test_jobs_that_redis_has_lost_are_asked_for_again(queue, settings, monkeypatch):
    monkeypatch.setattr(fleet, "LOOK_S", 0.0)
    monkeypatch.setattr(fleet, "SILENT_S", 0.2)

    def forgetful(queue, claim):
        if not lost:
            lost.append(claim.id)
            for key in queue._link.client.keys(f"{queue._link.prefix}*"):
                queue._link.client.delete(key)
            return False
        return answer(queue, claim)

    lost: list[str] = []
    with working(settings, work=forgetful):
        outcomes = list(ensure(queue, settings, map(a_job, range(10))))

    assert len(outcomes) == 10


def test_a_redis_that_stays_away_ends_the_wait_with_the_reason(tmp_path):
    with running_redis(tmp_path) as server:
        queue_settings = {"url": server.url, "connect_timeout_s": 1}
        settings = Settings(home=tmp_path, queue=queue_settings, serving={"outage_patience_s": 0.5})
        queue = open_queue(settings)
        with working(settings):
            outcomes = ensure(queue, settings, map(a_job, itertools.count()))
            next(outcomes)
        server.kill()

        with pytest.raises(QueueUnavailableError, match=r"^given up after \d+ s: Redis at 127.0.0.1:\d+ "):
            list(outcomes)
        queue.close()


def test_kinds_are_what_workers_announced(queue, settings):
    assert FleetMaker(queue, "spring", settings).kind("tiny", Resolution(64, 64)) == ""

    queue.announce({"tiny": Placement("eager", "cuda:3", "float16")})

    assert FleetMaker(queue, "spring", settings).kind("tiny", Resolution(64, 64)) == "eager/cuda/float16"


def test_steps_are_told_as_workers_tell_them(queue, settings, monkeypatch):
    monkeypatch.setattr(fleet, "LOOK_S", 0.0)
    monkeypatch.setattr(fleet, "BLOCK_S", 0.02)
    steps = []

    def work(queue, claim):
        queue.progress(claim, 50)
        wait_until(lambda: steps)
        return answer(queue, claim)

    with working(settings, work=work):
        list(ensure(queue, settings, [a_job(1)], lambda *step: steps.append(step)))

    assert steps[0] == (a_job(1).id, 2, 4)


def test_that_nobody_works_is_said_once_in_a_while(queue, settings, monkeypatch, caplog):
    monkeypatch.setattr(fleet, "LOOK_S", 0.0)
    monkeypatch.setattr(fleet, "SILENT_S", 0.05)
    monkeypatch.setattr(fleet, "BLOCK_S", 0.02)
    outcomes = ensure(queue, settings, [a_job(1)])
    thread = threading.Thread(target=lambda: next(outcomes))
    thread.start()
    wait_until(lambda: "no worker lives" in caplog.text)

    with working(settings):
        thread.join()

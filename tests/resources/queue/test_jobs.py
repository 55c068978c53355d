"""Picture jobs: what catalogs have made by the fleet."""

import time

import pytest
from redis import Redis

from foundation.errors import FailureCause
from models.picture_job import PictureJob
from models.placement import Placement
from models.request import Priority
from resources.queue import QueueFullError, QueueUnavailableError, TaskStatus, catalog_owner
from tests.resources.queue.conftest import ids, job, new_task, outcome_of, result, state

DEADLINE_S = 120
SPRING = catalog_owner("spring")


def jobs(count, text="cup"):
    return [job(f"{text} {n}") for n in range(count)]


def do(queue, worker="w", count=100):
    """Claim jobs, and say that they are done."""
    claims = queue.claim(worker, count)
    assert all(queue.answer(claim, outcome_of(claim)) for claim in claims)
    return ids(claims)


@pytest.fixture
def ensure(queue):
    def ensure(wanted, client="run", owner=SPRING, **more):
        queue.ensure(wanted, owner=owner, client=client, **more)
        return [one.id for one in wanted]

    return ensure


def told(queue, client="run"):
    return [outcome.id for outcome in queue.outcomes(client)]


def test_a_job_comes_to_a_worker_whole_and_its_outcome_to_the_client_whole(queue, ensure):
    wanted = job(source_key="pictures/a.png", moderate=True, image_key="inputs/b")
    ensure([wanted])

    (claim,) = queue.claim("w", 9)
    assert claim.is_job
    assert claim.id == wanted.id == f"{wanted.recipe.digest}.png"
    assert PictureJob.model_validate(claim.task.request) == wanted
    made = outcome_of(claim, digest="d", size_bytes=5, width_px=64, height_px=64, seconds=1.5, moderated_by="m 1")
    assert queue.answer(claim, made)

    assert queue.outcomes("run") == [made]


def test_what_two_clients_want_is_made_once_and_told_to_both(queue, ensure):
    sent = ensure(jobs(3), "one")
    assert ensure(jobs(3), "two") == sent
    ensure(jobs(3), "two")

    assert sorted(do(queue)) == sorted(sent)
    assert sorted(told(queue, "one")) == sorted(told(queue, "two")) == sorted(sent)
    assert queue.depth().backlog == 0


def test_who_comes_while_a_job_is_done_or_after_it_joins(queue, ensure):
    (id,) = ensure([job()], "one")
    (claim,) = queue.claim("w", 9)
    ensure([job()], "two")
    assert queue.claim("v", 9) == []

    queue.answer(claim, outcome_of(claim))
    ensure([job()], "three")

    assert queue.claim("v", 9) == []
    assert [told(queue, client) for client in ("one", "two", "three")] == [[id]] * 3


def test_an_outcome_comes_again_until_it_is_forgotten(queue, ensure, monkeypatch):
    monkeypatch.setattr("resources.queue.jobs._LOOK_AGAIN_S", 0)
    sent = ensure(jobs(2))
    do(queue)
    assert sorted(told(queue)) == sorted(told(queue)) == sorted(sent)

    queue.forget("run", sent[:1])

    assert told(queue) == sent[1:]


def test_an_outcome_whose_answer_was_lost_is_told_by_the_next_call(queue, ensure, lost_answers):
    sent = ensure(jobs(2))
    assert told(queue) == []
    do(queue)
    with lost_answers(), pytest.raises(QueueUnavailableError):
        queue.outcomes("run")

    assert sorted(told(queue)) == sorted(sent)


def test_jobs_whose_answer_was_lost_are_ensured_again_at_no_cost(queue, ensure, lost_answers):
    with lost_answers(), pytest.raises(QueueUnavailableError):
        ensure(jobs(2))
    sent = ensure(jobs(2))
    claims = queue.claim("w", 1)
    ensure(jobs(2))
    claims += queue.claim("w", 9)

    assert sorted(ids(claims)) == sorted(sent)
    for claim in claims:
        with lost_answers(), pytest.raises(QueueUnavailableError):
            queue.answer(claim, outcome_of(claim))
        assert queue.answer(claim, outcome_of(claim))
    assert sorted(told(queue)) == sorted(sent)


def test_a_client_hears_at_once_of_what_ends_while_it_waits(queue, open_queue, ensure):
    from threading import Timer

    ensure([job()])
    (claim,) = queue.claim("w", 1)
    assert queue.outcomes("run") == []
    worker = Timer(0.2, queue.answer, [claim, outcome_of(claim)])
    worker.start()
    began = time.monotonic()

    (outcome,) = open_queue().outcomes("run", block_s=DEADLINE_S)

    worker.join()
    assert outcome.id == claim.id
    assert time.monotonic() - began < DEADLINE_S / 2


def test_a_word_that_was_lost_is_made_up_for(queue, ensure, redis, namespace, monkeypatch):
    monkeypatch.setattr("resources.queue.jobs._LOOK_AGAIN_S", 0.2)
    sent = ensure([job()])
    assert told(queue) == []
    do(queue)
    with Redis.from_url(redis.url, protocol=2) as client:
        client.delete(f"{namespace}:answers:run")

    assert [outcome.id for outcome in queue.outcomes("run", block_s=DEADLINE_S)] == sent


def test_what_a_redis_that_evicts_has_lost_is_told_and_can_be_ensured_again(queue, ensure, redis, namespace):
    (id,) = ensure([job()])
    queue.claim("w", 1)
    with Redis.from_url(redis.url, protocol=2) as client:
        client.delete(f"{namespace}:task:{id}")

    with pytest.raises(QueueUnavailableError, match=f"Redis has lost 1 picture jobs, such as {id}"):
        queue.outcomes("run")
    ensure([job()])

    assert do(queue, "v") == [id]
    assert told(queue) == [id]


def test_a_failure_says_why_and_is_tried_again_for_who_comes_later(queue, ensure):
    (id,) = ensure([job()], "one")
    (claim,) = queue.claim("w", 1)
    failed = outcome_of(claim, key="", error="no such font", cause=FailureCause.WATERMARK, rejected=True)
    assert queue.answer(claim, failed)
    ensure([job()], "one")  # its answer was lost: no reason to try again
    assert queue.outcomes("one") == [failed]

    ensure([job()], "two")

    assert do(queue) == [id]
    assert queue.outcomes("one")[0].error == queue.outcomes("two")[0].error == ""


def test_a_picture_that_is_gone_from_the_store_is_made_anew(queue, ensure):
    (id,) = ensure([job()])
    do(queue)
    assert told(queue) == [id]

    ensure([job()], anew=True)

    assert told(queue) == []
    assert do(queue) == [id]
    assert told(queue) == [id]


def test_nothing_is_left_of_jobs_that_are_forgotten(queue, ensure, names):
    ensure(jobs(20), "one")
    ensure(jobs(30), "two")
    while claims := queue.claim("w", 7):
        queue.renew(state("w"), claims)
        queue.answer(claims[0], outcome_of(claims[0], error="no"))
        for claim in claims[1:]:
            queue.answer(claim, outcome_of(claim))
    for client in ("one", "two"):
        queue.forget(client, told(queue, client))
        assert told(queue, client) == []
    queue.worker_ended("w")

    assert {name.partition(":")[0] for name in names()} == {"bell", "given"}


def test_the_room_that_a_catalog_takes_is_that_of_its_window(queue, ensure, names):
    most = 0
    for n in range(30):
        ensure(jobs(10, f"{n}"))
        do(queue)
        queue.forget("run", told(queue))
        most = max(most, len(names()))

    assert most < 20


def test_what_nobody_waits_for_any_more_is_withdrawn(queue, ensure, names):
    waiting, working, shared = jobs(3)
    ensure([working], "one")
    (claim,) = queue.claim("w", 1)
    ensure([waiting, shared], "one")
    ensure([shared], "two")

    queue.withdraw("one")

    assert queue.depth().jobs == 1
    assert queue.renew(state("w"), [claim]).cancelled == {working.id}
    assert queue.cancelled(claim)
    assert do(queue) == [shared.id]
    queue.forget("two", told(queue, "two"))
    queue.worker_ended("w")
    assert {name.partition(":")[0] for name in names()} == {"bell", "given"}


def test_a_job_that_is_wanted_again_while_it_is_stopped_begins_anew(queue, ensure):
    (id,) = ensure([job()], "one")
    (claim,) = queue.claim("w", 1)
    queue.withdraw("one")
    assert not queue.is_wanted(claim)

    ensure([job()], "two")
    assert queue.is_wanted(claim)
    assert queue.cancelled(claim)  # it had been told before

    (again,) = queue.claim("v", 1)
    assert (again.id, again.attempt) == (id, 1)
    assert not queue.answer(claim, outcome_of(claim))
    assert queue.answer(again, outcome_of(again))
    assert told(queue, "two") == [id]


def test_what_a_killed_client_waited_for_is_finished_and_lives_for_a_while(queue, ensure, redis, namespace):
    ensure(jobs(3), "killed")
    do(queue)
    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        left = {name: client.ttl(name) for name in client.scan_iter(f"{namespace}:*")}

    kinds = {name.split(":")[1] for name in left}
    assert kinds == {"bell", "given", "task", "waiters", "wanted", "answers"}
    assert all(0 < ttl <= 3600 for name, ttl in left.items() if ":bell" not in name)


def test_a_killed_client_that_is_started_again_finds_what_was_finished_meanwhile(queue, ensure):
    sent = ensure(jobs(3), "killed")
    do(queue, count=2)

    assert ensure(jobs(3), "again") == sent
    assert len(told(queue, "again")) == 2
    assert len(do(queue)) == 1


def test_jobs_that_kill_workers_are_set_aside_and_say_so(open_queue, ensure):
    queue = open_queue(max_deliveries=2)
    (id,) = ensure([job("poison")])
    for worker in ("one", "two"):
        assert ids(queue.claim(worker, 1)) == [id]
        queue.worker_ended(worker)

    assert queue.claim("three", 1) == []
    (outcome,) = queue.outcomes("run")
    assert (outcome.id, outcome.recipe, outcome.cause) == (id, job("poison").recipe, FailureCause.WORKER_LOST)
    assert outcome.error.startswith("Given up after 2 attempts")
    assert queue.depth().dead == 1


def test_a_worker_that_gives_back_or_dies_loses_no_job(queue, ensure):
    sent = ensure(jobs(4))
    queue.give_back(queue.claim("one", 2))
    first = queue.claim("two", 2)
    queue.worker_ended("two")

    assert sorted([*do(queue), *do(queue), *do(queue)]) == sorted(sent)
    assert not queue.answer(first[0], outcome_of(first[0], error="late"))
    assert sorted(told(queue)) == sorted(sent)
    assert all(not outcome.error for outcome in queue.outcomes("run"))


def test_users_limits_know_nothing_of_jobs(open_queue, ensure):
    queue = open_queue(max_waiting=5, max_owner_tasks=5)
    ensure(jobs(200))
    for _ in range(5):
        queue.submit(new_task(priority="bulk"), owner="ann")
    with pytest.raises(QueueFullError):
        queue.submit(new_task(), owner="bob")

    ensure(jobs(300))

    depth = queue.depth()
    assert (depth.jobs, depth.waiting[Priority.BULK], depth.backlog) == (300, 5, 305)
    assert queue.owned(SPRING) == []


def test_jobs_are_changes_of_nobodys_tasks_and_end_in_no_users_list(queue, ensure, names, redis, namespace):
    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        channel = client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe(f"{namespace}:changes")
        channel.get_message(timeout=1)
        ensure(jobs(3))
        do(queue)
        queue.submit(new_task(id="mine"), owner="ann")
        queue.claim("w", 1)
        heard = channel.get_message(timeout=DEADLINE_S)
        channel.close()

    assert heard["data"] == "mine"
    assert not {name for name in names() if name.partition(":")[0] in ("owned", "kept") and "catalog" in name}
    assert not {name for name in names() if name.startswith("ended")}


def test_catalogs_and_users_take_turns(queue, ensure):
    ensure(jobs(6, "spring"), "one", SPRING)
    ensure(jobs(3, "autumn"), "two", catalog_owner("autumn"))
    for _ in range(2):
        queue.submit(new_task(priority="bulk"), owner="ann")

    owners = [claim.task.owner.removeprefix("catalog:") for claim in queue.claim("w", 99)]

    assert owners == ["spring", "autumn", "ann"] * 2 + ["spring", "autumn", "spring", "spring", "spring"]


def test_ten_thousand_jobs_hold_up_no_request(queue, ensure):
    for n in range(20):
        ensure(jobs(500, f"{n}"))
    assert queue.depth().jobs == 10_000
    interactive = [queue.submit(new_task(), owner="ann").id for _ in range(10)]
    bulk = [queue.submit(new_task(priority="bulk"), owner="bob").id for _ in range(10)]

    first = ids(queue.claim("w", 4))
    then = ids(queue.claim("w", 46))

    assert first == interactive[:4]
    assert set(interactive) <= {*first, *then}
    assert set(bulk) <= {*first, *then}


def test_jobs_among_requests_keep_nothing_in_the_queue_when_all_have_ended(queue, ensure, names):
    ensure(jobs(5))
    for _ in range(5):
        queue.submit(new_task(priority="bulk"), owner="ann")
    for claim in queue.claim("w", 99):
        assert queue.answer(claim, outcome_of(claim)) if claim.is_job else queue.succeed(claim, result())

    kinds = {name.partition(":")[0] for name in names()}
    assert not kinds & {"lane", "streams", "leases", "waiting", "owners", "ring"}
    assert queue.depth().processing == 0
    assert {task.status for task in queue.owned("ann")} == {TaskStatus.SUCCESS}


def test_what_workers_announce_is_what_catalogs_plan_with(queue, open_queue):
    assert queue.placements() == {}
    queue.announce({"tiny": Placement("eager", "cpu", "float32"), "sdxl": Placement("compile", "cuda:3", "float16", 9)})
    queue.announce({"tiny": Placement("eager", "cuda:1", "float16")})
    queue.announce({})

    assert open_queue().placements() == {
        "tiny": Placement("eager", "cuda", "float16"),
        "sdxl": Placement("compile", "cuda", "float16", 9),
    }

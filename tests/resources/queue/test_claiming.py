import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from redis import Redis

from foundation.errors import FailureCause
from models.request import Priority
from resources.queue import QueueUnavailableError, TaskStatus
from tests.resources.queue.conftest import ids, new_task, result, state

DEADLINE_S = 120


def submit(queue, count=1, owner="ann", **fields):
    return [queue.submit(new_task(f"{owner} {n}", **fields), owner=owner).id for n in range(count)]


def test_tasks_of_an_owner_are_claimed_in_order(queue):
    sent = submit(queue, 5)

    assert ids(queue.claim("w", 3)) + ids(queue.claim("w", 3)) == sent
    assert queue.claim("w", 3) == []


def test_a_claim_holds_the_task_as_it_is_now(queue):
    (id,) = submit(queue)

    (claim,) = queue.claim("w", 1)

    assert claim.task == queue.task(id)
    assert (claim.task.status, claim.attempt, claim.task.deliveries) == (TaskStatus.PROCESSING, 1, 1)


def test_owners_are_served_in_turn(queue):
    submit(queue, 4, "ann")
    submit(queue, 2, "bob")
    submit(queue, 1, "cid")

    served = [claim.task.owner for claim in queue.claim("w", 4) + queue.claim("w", 4)]

    assert served == ["ann", "bob", "cid", "ann", "bob", "ann", "ann"]


def test_owners_who_have_their_share_in_preparation_get_nothing_and_hold_up_nobody_in_either_lane(queue):
    def claim(**preparing):
        return queue.claim("w", 9, preparing=preparing, preparing_each=2)

    sent = submit(queue, 3, "ann")
    submit(queue, 2, "bob", priority="bulk")
    submit(queue, 1, "cid", priority="bulk")

    assert [one.task.owner for one in claim(ann=2, cid=1)] == ["bob", "cid", "bob"]
    assert claim(ann=3, bob=2) == []
    assert ids(claim(bob=2, ann=1)) == sent


@pytest.mark.parametrize("priority", ["interactive", "bulk"])
def test_one_claim_gives_no_owner_more_than_the_share_of_preparation(queue, priority):
    url = "https://pictures.example/a.png"
    submit(queue, 9, "ann", priority=priority, image_url=url)
    plain = submit(queue, 3, "bob", priority=priority)

    first = queue.claim("w", 9, preparing={"ann": 1}, preparing_each=4)
    assert [claim.task.owner for claim in first].count("ann") == 3
    assert {claim.id for claim in first} >= set(plain)
    queue.give_back(first)  # to a worker that has its share as well
    again = queue.claim("v", 9, preparing={}, preparing_each=2)
    assert [claim.task.owner for claim in again].count("ann") == 2
    assert {claim.id for claim in again} >= set(plain)


def test_interactive_tasks_go_first_and_bulk_ones_still_go(open_queue):
    queue = open_queue(bulk_every=4)
    submit(queue, 4, priority="bulk")
    submit(queue, 9)

    served = [claim.task.request["priority"][0] for claim in queue.claim("w", 13)]

    assert "".join(served) == "iiibiiibiiibb"


def test_a_worker_that_has_no_room_for_bulk_ones_gets_interactive_ones_alone(queue):
    bulk = submit(queue, 4, "ann", priority="bulk")
    interactive = submit(queue, 3, "bob")
    queue.give_back(queue.claim("gone", 1, bulk=0))

    assert ids(queue.claim("w", 9, bulk=0)) == interactive
    assert queue.claim("w", 9, bulk=0) == []
    assert ids(queue.claim("w", 9, bulk=1)) == bulk[:1]
    queue.give_back(queue.claim("gone", 1))
    assert queue.claim("w", 9, bulk=0) == []
    assert sorted(ids(queue.claim("w", 9))) == sorted(bulk[1:])


def test_a_claim_is_wanted_until_it_is_cancelled_or_anothers(queue):
    submit(queue, 2)
    kept, cancelled = queue.claim("w", 2)
    assert queue.is_wanted(kept)
    assert queue.is_wanted(cancelled)

    queue.cancel(cancelled.id)
    assert not queue.is_wanted(cancelled)
    queue.worker_ended("w")
    (taken,) = queue.claim("v", 1)
    assert taken.id == kept.id
    assert (queue.is_wanted(taken), queue.is_wanted(kept)) == (True, False)


def test_a_task_ends_once(queue):
    (id,) = submit(queue)
    (claim,) = queue.claim("w", 1)

    assert queue.succeed(claim, result())
    assert not queue.fail(claim, "too late")
    assert not queue.cancelled(claim)
    ended = queue.task(id)
    assert (ended.status, ended.progress, ended.error, ended.result) == (TaskStatus.SUCCESS, 100, "", result())


def test_a_failure_says_why_and_is_counted_by_its_cause(queue):
    (id,) = submit(queue)
    assert queue.task(id).cause is None

    assert queue.fail(queue.claim("w", 1)[0], "image_url answered 404.", FailureCause.INPUT_PICTURE)
    assert (queue.task(id).status, queue.task(id).error) == (TaskStatus.FAILED, "image_url answered 404.")
    assert queue.task(id).cause is FailureCause.INPUT_PICTURE


@pytest.mark.parametrize("stored", [None, "a cause of a later version"])
def test_a_cause_that_another_version_stored_is_told_as_other(queue, redis, namespace, stored):
    (id,) = submit(queue)
    queue.fail(queue.claim("w", 1)[0], "no", FailureCause.STORE)
    with Redis.from_url(redis.url, protocol=2) as client:
        client.hdel(f"{namespace}:task:{id}", "cause")
        if stored:
            client.hset(f"{namespace}:task:{id}", "cause", stored)

    assert queue.task(id).cause is FailureCause.OTHER


def test_an_end_that_is_reported_twice_counts_once(queue):
    """The answer to the first report may have been lost."""
    submit(queue)
    (claim,) = queue.claim("w", 1)

    assert queue.succeed(claim, result())
    assert queue.succeed(claim, result())
    assert queue.depth().processing == 0


def test_progress_never_goes_back_and_revives_nothing(queue):
    (id,) = submit(queue)
    (claim,) = queue.claim("w", 1)

    seen = []
    for percent in (30, 20, 60, 250):
        queue.progress(claim, percent)
        seen.append(queue.task(id).progress)
    queue.fail(claim, "stopped")
    queue.progress(claim, 70)

    assert seen == [30, 30, 60, 100]
    assert queue.task(id).status == TaskStatus.FAILED


def test_claims_that_were_given_back_go_to_the_next_worker_at_once_and_uncounted(queue):
    sent = submit(queue, 3)
    claims = queue.claim("old", 3)
    queue.progress(claims[0], 40)

    queue.give_back(claims)
    queue.give_back(claims)
    taken = queue.claim("new", 3)

    assert ids(taken) == sent
    assert [claim.attempt for claim in taken] == [1, 1, 1]
    assert queue.task(sent[0]).progress == 40
    assert not queue.succeed(claims[0], result())
    assert queue.succeed(taken[0], result())


def test_a_worker_told_dead_loses_its_claims_at_once_and_they_count(queue):
    (id,) = submit(queue)
    (lost,) = queue.claim("dead", 1)

    assert queue.worker_ended("dead") == 1
    (taken,) = queue.claim("next", 1)

    assert (taken.id, taken.attempt) == (id, 2)
    assert not queue.succeed(lost, result("late"))
    assert queue.succeed(taken, result())


def test_a_late_worker_may_still_end_what_nobody_took_over(queue):
    (id,) = submit(queue)
    (claim,) = queue.claim("slow", 1)
    queue.worker_ended("slow")

    assert queue.succeed(claim, result())
    assert queue.claim("next", 1) == []
    assert queue.task(id).status == TaskStatus.SUCCESS


def test_heartbeats_keep_claims_and_their_end_frees_them(open_queue):
    queue = open_queue(lease_s=4)
    submit(queue)
    (claim,) = queue.claim("w", 1)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert queue.renew(state("w"), [claim]).lost == frozenset()
        assert queue.claim("other", 1, block_s=0.3) == []

    (taken,) = queue.claim("other", 1, block_s=DEADLINE_S)

    assert time.monotonic() - until < DEADLINE_S / 2
    assert queue.renew(state("w"), [claim]).lost == {claim.id}
    assert queue.renew(state("other"), [taken]).lost == frozenset()


def test_a_heartbeat_tells_what_was_cancelled(queue):
    first, second = submit(queue, 2)
    claims = queue.claim("w", 2)

    assert queue.cancel(first).status == TaskStatus.PROCESSING
    assert queue.renew(state("w"), claims).cancelled == {first}
    assert queue.cancelled(claims[0])
    assert [task.status for task in queue.tasks([first, second])] == [TaskStatus.CANCELLED, TaskStatus.PROCESSING]


def test_a_cancelled_task_whose_worker_died_is_not_done_again(queue):
    (id,) = submit(queue)
    queue.claim("dead", 1)
    queue.cancel(id)
    queue.worker_ended("dead")

    assert queue.claim("next", 1) == []
    assert queue.task(id).status == TaskStatus.CANCELLED


def test_what_a_dead_worker_had_is_tried_alone(queue):
    suspects = submit(queue, 3)
    queue.claim("dead", 3)
    fresh = submit(queue, 2)
    queue.worker_ended("dead")

    (alone,) = queue.claim("w", 9)

    assert alone.id == suspects[0]
    assert queue.claim("w", 9) == []
    assert ids(queue.claim("v", 9)) == [suspects[1]]
    queue.succeed(alone, result())
    assert ids(queue.claim("w", 9)) == [suspects[2]]
    assert ids(queue.claim("u", 9)) == fresh


def test_suspects_that_end_no_worker_are_tried_in_growing_groups(queue):
    suspects = submit(queue, 9)
    queue.claim("dead", 9)
    queue.worker_ended("dead")

    groups = []
    while claims := queue.claim("w", 5):
        groups.append(len(claims))
        assert queue.claim("w", 5) == []
        assert all(queue.succeed(claim, result()) for claim in claims)

    assert groups == [1, 2, 4, 2]
    assert {task.status for task in queue.tasks(suspects)} == {TaskStatus.SUCCESS}


def test_suspects_that_take_long_are_tried_in_smaller_groups(open_queue):
    queue = open_queue(lease_s=3)
    submit(queue, 4)
    queue.claim("dead", 4)
    queue.worker_ended("dead")

    groups = []
    while claims := queue.claim("w", 5):
        groups.append(len(claims))
        time.sleep(0.6)  # more than a sixth of the lease
        assert all(queue.succeed(claim, result()) for claim in claims)

    assert groups == [1, 1, 1, 1]


def test_the_last_try_of_a_task_is_its_alone(open_queue):
    queue = open_queue(max_deliveries=3)
    _, *others = submit(queue, 3)
    queue.claim("dead", 3)
    queue.worker_ended("dead")
    (alone,) = queue.claim("w", 9)
    queue.succeed(alone, result())
    assert ids(queue.claim("w", 9)) == others
    queue.worker_ended("w")

    (last,) = queue.claim("heir", 9)
    assert queue.succeed(last, result())
    (very_last,) = queue.claim("heir", 9)

    assert [last.id, very_last.id] == others
    assert (last.attempt, very_last.attempt) == (3, 3)


def test_fresh_tasks_that_have_waited_have_a_turn_between_suspects(open_queue):
    queue = open_queue(lease_s=3)
    suspects = submit(queue, 3)
    queue.claim("dead", 3)
    queue.worker_ended("dead")
    fresh = submit(queue, 3)
    time.sleep(1.2)  # more than a third of the lease

    turns = []
    while claims := queue.claim("w", 2):
        turns.append(ids(claims))
        assert all(queue.succeed(claim, result()) for claim in claims)

    assert turns[:3] == [suspects[:1], fresh[:2], suspects[1:]]
    assert turns[3:] == [fresh[2:]]


def test_a_worker_finishes_what_it_has_before_it_tries_a_suspect(queue):
    submit(queue, 1)
    (suspect,) = queue.claim("dead", 1)
    submit(queue, 2)
    held = queue.claim("w", 1)
    queue.worker_ended("dead")

    assert queue.claim("w", 1) == []
    queue.succeed(held[0], result())
    assert ids(queue.claim("w", 1)) == [suspect.id]


def test_a_worker_waits_for_a_suspect_until_another_thread_has_finished(queue):
    import threading

    submit(queue, 1)
    (suspect,) = queue.claim("dead", 1)
    submit(queue, 1)
    held = queue.claim("w", 1)
    queue.worker_ended("dead")
    finish = threading.Timer(0.3, queue.succeed, [held[0], result()])
    finish.start()

    assert ids(queue.claim("w", 1, block_s=DEADLINE_S)) == [suspect.id]
    finish.join()


def test_a_task_that_ended_a_worker_of_its_own_lets_fresh_ones_go_first(queue):
    (suspect,) = submit(queue, 1)
    for worker in ("one", "two"):
        queue.claim(worker, 1)
        queue.worker_ended(worker)
    (fresh,) = submit(queue, 1)

    assert ids(queue.claim("w", 9)) == [fresh]
    assert ids(queue.claim("v", 9)) == [suspect]


def test_a_task_that_ends_its_workers_is_given_up(open_queue, redis, namespace):
    queue = open_queue(max_deliveries=2)
    (id,) = submit(queue)
    for worker in ("one", "two"):
        assert ids(queue.claim(worker, 1)) == [id]
        queue.worker_ended(worker)

    assert queue.claim("three", 1) == []
    task = queue.task(id)
    assert (task.status, task.cause) == (TaskStatus.FAILED, FailureCause.WORKER_LOST)
    assert task.error == (
        "Given up after 2 attempts: each worker that tried it ended before it was done."
        " It may be what ends them. It is kept in the dead-letter stream and not tried again."
    )
    assert queue.depth().dead == 1


def test_claims_whose_answer_was_lost_are_given_again(queue, lost_answers):
    sent = submit(queue, 3)
    with lost_answers(), pytest.raises(QueueUnavailableError):
        queue.claim("w", 2)

    again = queue.claim("w", 2)

    assert ids(again) == sent[:2]
    assert [claim.attempt for claim in again] == [1, 1]
    assert ids(queue.claim("w", 2)) == sent[2:]


def test_a_submission_whose_answer_was_lost_is_there_once(queue, lost_answers):
    task = new_task(id="mine")
    with lost_answers(), pytest.raises(QueueUnavailableError):
        queue.submit(task, owner="ann")

    queue.submit(task, owner="ann")

    assert ids(queue.claim("w", 9)) == ["mine"]


@contextmanager
def worker_process(redis, namespace, name, count):
    words = [sys.executable, "-m", "tests.support.dying_worker", redis.url, namespace, name, str(count)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_worker_loses_no_request_and_one_of_two_finishers_wins(open_queue, redis, namespace):
    queue = open_queue(lease_s=1)
    sent = {queue.submit(new_task("endless"), owner="ann").id for _ in range(4)}
    with worker_process(redis, namespace, "victim", 4) as process:
        assert set(process.stdout.readline().split()) == sent
        process.kill()
        process.wait()

    taken = {}
    while len(taken) < 4:
        for claim in queue.claim("heir", 9, block_s=DEADLINE_S):
            taken[claim.id] = claim
            assert claim.attempt == 2
            assert queue.succeed(claim, result(claim.id))

    assert set(taken) == sent
    assert all(task.result == result(task.id) for task in queue.tasks(sorted(sent)))
    assert queue.depth().backlog == 0


def test_a_poison_task_delays_others_by_less_than_one_lease(open_queue, redis, namespace):
    """Real workers, restarted whenever the poison has killed them."""
    queue = open_queue(lease_s=1)
    poison = queue.submit(new_task("poison"), owner="ann").id
    others = [queue.submit(new_task("a cup"), owner="bob").id for _ in range(6)]
    deaths = 0
    deadline = time.monotonic() + DEADLINE_S
    while any(not task.status.ended for task in queue.tasks([poison, *others])):
        with worker_process(redis, namespace, f"worker {deaths}", 4) as process:
            while process.poll() is None and any(not task.status.ended for task in queue.tasks([poison, *others])):
                assert time.monotonic() < deadline
                queue.wait_for_work(0.05)
        deaths += 1

    tasks = queue.tasks(others)
    assert deaths == 4  # three that it killed, and the one that gave it up
    assert queue.task(poison).status == TaskStatus.FAILED
    assert {task.status for task in tasks} == {TaskStatus.SUCCESS}
    deliveries = sorted(task.deliveries for task in tasks)
    assert deliveries[:3] == [1, 1, 1]  # the other three were with it, once or, in a group of suspects, twice
    assert max(deliveries) <= 3


def test_ten_thousand_requests_are_served_fairly(open_queue):
    queue = open_queue(max_waiting=10_000)
    big = [queue.submit_batch([new_task() for _ in range(100)], owner="big", callback_url=None) for _ in range(99)]
    small = queue.submit_batch([new_task() for _ in range(100)], owner="small", callback_url=None)
    assert queue.depth().waiting == {Priority.INTERACTIVE: 10_000, Priority.BULK: 0}

    first = [claim for _ in range(10) for claim in queue.claim("w", 20)]

    assert len(big) == 99
    assert {claim.id for claim in first if claim.task.owner == "small"} == set(small.task_ids)
    assert [claim.task.owner for claim in first[:4]] in (["big", "small"] * 2, ["small", "big"] * 2)

"""A Redis that is configured to evict keys, and is full: what it lost is told, and nobody else is held up."""

import pytest
from redis import Redis

from resources.queue import TaskStatus
from tests.resources.queue.conftest import ids, new_task, result, state

LOST = (
    "Redis has lost the place of this request in the queue. Submit it again; whoever runs this Redis: set"
    " maxmemory-policy noeviction."
)


@pytest.fixture
def evict(redis, namespace):
    """Makes Redis lose a key."""
    with Redis.from_url(redis.url, protocol=2) as client:

        def lose(name):
            assert client.delete(f"{namespace}:{name}") == 1

        yield lose


def submit(queue, owner, count=2):
    return [queue.submit(new_task(), owner=owner).id for _ in range(count)]


def statuses(queue, task_ids):
    return [(task.status, task.error) for task in queue.tasks(task_ids)]


def test_waiting_tasks_whose_stream_is_lost_fail_with_the_reason_and_others_are_served(queue, evict):
    lost, others = submit(queue, "ann"), submit(queue, "bob")
    evict("lane:interactive:ann")

    assert ids(queue.claim("w", 9)) == others

    assert statuses(queue, lost) == [(TaskStatus.FAILED, LOST)] * 2
    assert queue.depth().backlog == 0


def test_an_owner_whose_stream_was_lost_is_served_again_at_once(queue, evict):
    lost = submit(queue, "ann")
    evict("lane:interactive:ann")
    fresh = submit(queue, "ann", 1)

    assert ids(queue.claim("w", 9)) == fresh
    assert statuses(queue, lost) == [(TaskStatus.FAILED, LOST)] * 2


def test_a_waiting_task_that_is_lost_itself_is_passed_over(queue, evict):
    lost, other = submit(queue, "ann")
    evict(f"task:{lost}")

    assert ids(queue.claim("w", 9)) == [other]
    assert queue.task(lost) is None
    assert queue.depth().backlog == 0


def test_a_claimed_task_whose_stream_is_lost_fails_once_its_worker_is_dead_and_heartbeats_go_on(queue, evict):
    (lost,) = submit(queue, "ann", 1)
    queue.renew(state("dead"), queue.claim("dead", 1))
    (other,) = submit(queue, "bob", 1)
    evict("lane:interactive:ann")

    queue.worker_ended("dead")
    (claim,) = queue.claim("w", 9)

    assert (claim.id, queue.renew(state("w"), [claim]).lost) == (other, frozenset())
    assert statuses(queue, [lost]) == [(TaskStatus.FAILED, LOST)]


def test_a_batch_that_is_lost_keeps_none_of_its_tasks_from_their_end(queue, evict, names):
    batch = queue.submit_batch([new_task(), new_task()], owner="ann", callback_url=None)
    evict(f"batch:{batch.id}")

    assert all(queue.succeed(claim, result()) for claim in queue.claim("w", 2))
    assert f"batch:{batch.id}" not in names()

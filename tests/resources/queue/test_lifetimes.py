import pytest
from redis import Redis

from tests.resources.queue.conftest import new_task, result, state

DAY_S = 24 * 3600


@pytest.fixture
def life(redis, namespace):
    """How long a key has to live, s; -1 for ever, -2 if there is none."""
    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        yield lambda name: client.ttl(f"{namespace}:{name}")


def test_a_task_lives_a_week_after_it_has_pictures_however_long_it_waited(queue, life, names):
    task = queue.submit(new_task(), owner="ann", idempotency_key="order 1")
    (once,) = (name for name in names() if name.startswith("once:"))
    assert (life(f"task:{task.id}"), life(once)) == (-1, -1)

    queue.succeed(queue.claim("w", 1)[0], result())

    assert DAY_S - 60 < life(once) <= DAY_S
    assert all(7 * DAY_S - 60 < life(name) <= 7 * DAY_S for name in (f"task:{task.id}", "owned:ann"))


@pytest.mark.parametrize("in_a_batch", [False, True])
def test_what_has_pictures_is_remembered_as_long_as_their_urls(open_queue, life, in_a_batch):
    queue, tasks = open_queue(task_ttl_s=3600, url_ttl_s=7200), [new_task(), new_task()]
    if in_a_batch:
        queue.submit_batch(tasks, owner="ann", callback_url=None)
    else:
        for task in tasks:
            queue.submit(task, owner="ann")
    good, bad = queue.claim("w", 2)
    queue.succeed(good, result())
    queue.fail(bad, "no")

    assert 3600 < life(f"task:{good.id}") <= 7200
    assert 0 < life(f"task:{bad.id}") <= 3600


def test_the_tasks_of_a_batch_live_as_long_as_the_batch(queue, life):
    first, second = tasks = [new_task(), new_task()]
    batch = queue.submit_batch(tasks, owner="ann", callback_url="https://client.example/")
    queue.cancel(first.id)
    assert (life(f"task:{first.id}"), life(f"batch:{batch.id}")) == (-1, -1)

    queue.cancel(second.id)

    kept = [f"task:{first.id}", f"task:{second.id}", f"batch:{batch.id}", f"callback:cb_{batch.id}"]
    assert all(DAY_S - 60 < life(name) <= DAY_S for name in kept)


def test_everything_that_grows_with_traffic_has_an_end(queue, names, life):
    """Tasks of many owners, ended in every way: only what has a time to live remains, or is one of a few."""
    for n in range(200):
        queue.submit(new_task(priority="bulk" if n % 3 else "interactive"), owner=f"owner {n % 20}")
    while claims := queue.claim("w", 40):
        queue.renew(state("w"), claims)
        queue.cancel(claims[0].id)
        queue.cancelled(claims[0])
        queue.fail(claims[1], "no")
        for claim in claims[2:]:
            queue.succeed(claim, result())
    queue.worker_ended("w")

    left = names()

    # The ledger empties `usage`.
    assert {name for name in left if life(name) == -1} == {"bell", "bell:bulk", "turns", "usage"}
    expected = {"bell", "turns", "task", "owned", "given", "ended", "kept", "usage"}
    assert {name.partition(":")[0] for name in left} == expected
    assert len(left) <= 200 + 3 * 20 + 10


def test_an_owners_list_forgets_tasks_that_are_gone(open_queue, redis, namespace):
    queue = open_queue(task_ttl_s=60)
    listed = f"{namespace}:owned:ann"
    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        client.zadd(listed, {f"gone {n}": 1000 + n for n in range(5)})
        for _ in range(3):
            queue.submit(new_task(), owner="ann")

        assert client.zcard(listed) == 3
    assert len(queue.owned("ann", limit=1)) == 1


def test_a_worker_that_is_gone_leaves_no_name_in_a_busy_stream(queue, redis, namespace):
    for _ in range(3):
        queue.submit(new_task(), owner="ann")
    queue.succeed(queue.claim("old", 1)[0], result())
    queue.worker_ended("old")
    queue.claim("new", 1)

    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        consumers = client.xinfo_consumers(f"{namespace}:lane:interactive:ann", "serving")
    assert [consumer["name"] for consumer in consumers] == ["new"]

"""What one owner may have in the queue, and how little of it an ended task keeps."""

import pytest

from resources.queue import OwnerLimitError, TaskStatus, UploadSize
from tests.resources.queue.conftest import new_task


def bytes_in_redis(redis, namespace):
    from redis import Redis

    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        return sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter(f"{namespace}:*"))


def test_a_cancelled_task_keeps_little_of_a_long_request(queue, redis, namespace):
    ids = [queue.submit(new_task("長" * 10_000), owner="eve").id for _ in range(20)]
    assert bytes_in_redis(redis, namespace) > 20 * 30_000
    for id in ids:
        assert queue.cancel(id).request["text"] == "長" * 200 + "…"
    assert bytes_in_redis(redis, namespace) < 20 * 3_000


def test_a_task_that_waits_or_runs_has_all_of_its_request(queue):
    text = "長" * 10_000
    id = queue.submit(new_task(text), owner="eve").id
    assert queue.task(id).request["text"] == text
    (claim,) = queue.claim("w", 1)
    assert claim.task.request["text"] == text
    assert queue.fail(claim, "no")
    assert len(queue.task(id).request["text"]) == 201


@pytest.mark.parametrize("text", ["short", "長" * 10_000])
def test_a_task_that_ended_is_still_known_by_its_content(queue, text):
    task = new_task(text, id="mine")
    queue.submit(task, owner="eve")
    queue.cancel("mine")
    assert queue.submit(task, owner="eve").status is TaskStatus.CANCELLED


def test_tasks_beyond_the_owners_limit_are_refused_and_others_go_on(open_queue):
    queue = open_queue(max_owner_tasks=3)
    for _ in range(3):
        queue.cancel(queue.submit(new_task(), owner="eve").id)
    with pytest.raises(OwnerLimitError, match="3 of your tasks are remembered, which is the most for one user") as over:
        queue.submit(new_task(), owner="eve")
    assert 3_600 <= over.value.retry_after_s <= 25 * 3_600 + 3_600
    assert "raise queue.max_owner_tasks" in str(over.value)
    assert queue.submit(new_task(), owner="ada").status is TaskStatus.WAITING
    with pytest.raises(OwnerLimitError):
        queue.submit_batch([new_task() for _ in range(4)], owner="ada", callback_url=None)


def test_bytes_beyond_the_owners_limit_are_refused_and_cancelling_makes_room(open_queue):
    queue = open_queue(max_owner_bytes=110_000)
    first = queue.submit(new_task("長" * 10_000), owner="eve")
    queue.submit(new_task("長" * 10_000), owner="eve")
    queue.submit(new_task("長" * 10_000), owner="eve")
    with pytest.raises(OwnerLimitError, match="Your tasks take 110,000 bytes of the queue"):
        queue.submit(new_task("長" * 10_000), owner="eve")
    queue.cancel(first.id)
    queue.submit(new_task("長" * 10_000), owner="eve")


@pytest.mark.parametrize(
    ("size", "rule"),
    [(UploadSize(600_000, 1), "1,000,000 bytes"), (UploadSize(1, 600_000), "pictures of 1,000,000 pixels")],
)
def test_uploads_beyond_the_owners_limit_are_refused(open_queue, size, rule):
    queue = open_queue(max_owner_upload_bytes=1_000_000, max_owner_upload_pixels=1_000_000)
    queue.submit(new_task(), owner="eve", uploads=size)
    with pytest.raises(OwnerLimitError, match=f"You have uploaded {rule}"):
        queue.submit(new_task(), owner="eve", uploads=size)
    assert queue.submit(new_task(), owner="eve").status is TaskStatus.WAITING


def test_what_is_counted_expires(open_queue):
    queue = open_queue(max_owner_tasks=1, task_ttl_s=60)
    queue.submit(new_task(), owner="eve")
    link = queue._link
    key = f"{link.prefix}kept:eve"
    fields = link.call(lambda redis: redis.hgetall(key))
    for name, count in fields.items():
        what, bucket = name.split(":")
        link.call(lambda redis, old=f"{what}:{int(bucket) - 24}", count=count: redis.hset(key, old, count))
        link.call(lambda redis, name=name: redis.hdel(key, name))
    queue.submit(new_task(), owner="eve")
    with pytest.raises(OwnerLimitError):
        queue.submit(new_task(), owner="eve")


def test_looking_for_room_stores_nothing(open_queue, names):
    queue = open_queue(max_waiting=1)
    task = new_task(id="mine")
    assert queue.room(task, owner="eve", uploads=UploadSize(5, 5)) is None
    assert names() <= {"check"}
    queue.submit(task, owner="eve")
    assert queue.room(task, owner="eve", uploads=UploadSize(5, 5)).id == "mine"
    with pytest.raises(Exception, match="1 requests wait already"):
        queue.room(new_task(), owner="eve", uploads=UploadSize(5, 5))

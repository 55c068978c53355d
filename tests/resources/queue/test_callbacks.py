import time

import pytest

from resources.queue import TaskStatus
from tests.resources.queue.conftest import new_task, result
from tests.support.waiting import wait_until

URL = "https://client.example/done"
DEADLINE_S = 120


@pytest.fixture
def ended(queue):
    """A task that ended well and asked to be called back."""
    task = queue.submit(new_task(callback_url=URL), owner="ann")
    assert queue.take_due_callbacks("d", 9, 60) == []
    queue.succeed(queue.claim("w", 1)[0], result())
    return queue.task(task.id)


def test_a_task_that_ended_is_called_back_about(queue, ended):
    (callback,) = queue.take_due_callbacks("d", 9, 60)

    assert (callback.url, callback.event, callback.owner, callback.attempt) == (URL, "task.success", "ann", 1)
    assert (callback.task_id, callback.batch_id, callback.tasks) == (ended.id, None, (ended,))


@pytest.mark.parametrize("status", [TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_other_ends_are_called_back_about_too(queue, status):
    task = queue.submit(new_task(callback_url=URL), owner="ann")
    if status == TaskStatus.FAILED:
        queue.fail(queue.claim("w", 1)[0], "no")
    else:
        queue.cancel(task.id)

    (callback,) = queue.take_due_callbacks("d", 9, 60)

    assert callback.event == f"task.{status}"
    assert callback.tasks[0].error == ("no" if status == TaskStatus.FAILED else "")


def test_a_callback_is_one_deliverers_until_its_lease_ends(queue, ended):
    (first,) = queue.take_due_callbacks("one", 9, 0.3)
    assert queue.take_due_callbacks("two", 9, 60) == []
    again = []
    wait_until(lambda: again.extend(queue.take_due_callbacks("two", 9, 60)) or again, DEADLINE_S)

    assert (again[0].id, again[0].tasks, again[0].attempt) == (first.id, first.tasks, 2)


def test_a_delivered_callback_is_over(queue, ended):
    (callback,) = queue.take_due_callbacks("d", 9, 0.001)

    queue.callback_done(callback)

    assert queue.callbacks_waiting() == 0
    assert queue.take_due_callbacks("d", 9, 60) == []


def test_a_failed_callback_is_due_again_when_asked_for(queue, ended):
    (callback,) = queue.take_due_callbacks("d", 9, 60)

    queue.callback_failed(callback, 3600)
    assert queue.take_due_callbacks("d", 9, 60) == []
    queue.callback_failed(callback, -1)

    assert queue.take_due_callbacks("d", 9, 60)[0].attempt == 2


def test_a_late_deliverer_does_not_change_when_it_is_due(queue, ended):
    (late,) = queue.take_due_callbacks("late", 9, 0.001)
    time.sleep(0.01)
    queue.take_due_callbacks("other", 9, 60)

    queue.callback_failed(late, 0)

    assert queue.take_due_callbacks("d", 9, 60) == []


def test_a_callback_may_be_given_up(queue, ended):
    (callback,) = queue.take_due_callbacks("d", 9, 60)

    queue.callback_failed(callback, None)

    assert queue.callbacks_waiting() == 0


def test_a_batch_is_called_back_about_once_when_its_last_task_ends(queue):
    tasks = [new_task(f"cup {n}") for n in range(3)]
    batch = queue.submit_batch(tasks, owner="ann", callback_url=URL)
    first, second = queue.claim("w", 2)
    queue.succeed(first, result())
    queue.fail(second, "no")
    assert queue.take_due_callbacks("d", 9, 60) == []

    queue.cancel(tasks[2].id)

    (callback,) = queue.take_due_callbacks("d", 9, 60)
    assert (callback.event, callback.batch_id, callback.task_id) == ("batch.ended", batch.id, None)
    assert [task.status for task in callback.tasks] == ["success", "failed", "cancelled"]


def test_a_callback_is_forgotten_with_its_task(queue, ended, redis, namespace):
    from redis import Redis

    with Redis.from_url(redis.url, protocol=2) as client:
        client.delete(f"{namespace}:task:{ended.id}")

    assert queue.take_due_callbacks("d", 9, 60) == []
    assert queue.callbacks_waiting() == 0

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from resources.queue import ConflictError, QueueFullError, TaskStatus, new_task_id
from tests.resources.queue.conftest import ids, new_task, result


def test_an_accepted_task_waits_with_the_seed_it_will_be_made_with(queue):
    task = queue.submit(new_task("a blue cup"), owner="ann")

    assert queue.task(task.id) == task
    assert (task.status, task.progress, task.deliveries, task.owner) == (TaskStatus.WAITING, 0, 0, "ann")
    assert task.request["text"] == "a blue cup"
    assert isinstance(task.request["params"]["seed"], int)


def test_the_seed_that_was_asked_for_is_kept(queue):
    task = queue.submit(new_task(params={"seed": 5}), owner="ann")

    assert task.request["params"]["seed"] == 5


def test_the_same_id_with_the_same_request_is_one_task(queue):
    first = queue.submit(new_task(id="mine"), owner="ann")

    assert queue.submit(new_task(id="mine"), owner="ann") == first
    assert ids(queue.claim("w", 9)) == ["mine"]


def test_the_same_id_with_another_request_is_a_conflict(queue):
    queue.submit(new_task("a cup", id="mine"), owner="ann")

    with pytest.raises(ConflictError) as caught:
        queue.submit(new_task("a mug", id="mine"), owner="ann")

    assert str(caught.value) == "Task id 'mine' was used for another request. Use a new id for a new request."


def test_someone_elses_id_is_a_conflict_that_shows_nothing_of_the_task(queue):
    queue.submit(new_task("a secret cup", id="theirs"), owner="bob")

    with pytest.raises(ConflictError) as caught:
        queue.submit(new_task("a secret cup", id="theirs"), owner="ann")

    assert "secret" not in str(caught.value)
    assert "bob" not in str(caught.value)


def test_the_same_idempotency_key_gives_the_first_task(queue):
    first = queue.submit(new_task(), owner="ann", idempotency_key="order 1")

    again = queue.submit(new_task(), owner="ann", idempotency_key="order 1")

    assert again == first
    assert len(queue.owned("ann")) == 1


def test_an_idempotency_key_used_for_another_request_is_a_conflict(queue):
    queue.submit(new_task("a cup"), owner="ann", idempotency_key="order 1")

    with pytest.raises(ConflictError, match="idempotency key"):
        queue.submit(new_task("a mug"), owner="ann", idempotency_key="order 1")


def test_idempotency_keys_of_two_owners_do_not_meet(queue):
    first = queue.submit(new_task("a cup"), owner="ann", idempotency_key="order 1")
    second = queue.submit(new_task("a mug"), owner="bob", idempotency_key="order 1")

    assert first.id != second.id


def test_many_callers_with_one_key_make_one_task(queue):
    with ThreadPoolExecutor(8) as threads:
        calls = [threads.submit(queue.submit, new_task(), owner="ann", idempotency_key="order 1") for _ in range(32)]

    assert len({call.result().id for call in calls}) == 1
    assert len(queue.claim("w", 9)) == 1


@pytest.mark.parametrize("id", ["", "a b", "a/b", "../x", "a~2", "-a", "ä", "a\n", "a" * 146])
def test_a_malformed_id_is_refused(id):
    with pytest.raises(ValidationError, match="is not a task id"):
        new_task(id=id) if id else type(new_task())(id="", request=new_task().request)


def test_a_batch_is_accepted_whole(queue):
    tasks = [new_task(f"cup {n}") for n in range(3)]

    batch = queue.submit_batch(tasks, owner="ann", callback_url=None)

    assert batch.task_ids == tuple(task.id for task in tasks)
    assert queue.batch(batch.id) == batch
    assert [task.batch_id for task in queue.tasks(batch.task_ids)] == [batch.id] * 3


def test_a_batch_that_does_not_fit_leaves_nothing(open_queue, names):
    queue = open_queue(max_waiting=2)

    with pytest.raises(QueueFullError):
        queue.submit_batch([new_task() for _ in range(3)], owner="ann", callback_url=None)

    assert names() == set()


def test_the_same_idempotency_key_gives_the_first_batch(queue):
    def send(text):
        tasks = [new_task(text), new_task(text)]
        return queue.submit_batch(tasks, owner="ann", callback_url=None, idempotency_key="order 1")

    first = send("a cup")

    assert send("a cup") == first
    with pytest.raises(ConflictError):
        send("a mug")


def test_a_full_queue_refuses_and_takes_more_once_there_is_room(open_queue):
    queue = open_queue(max_waiting=2)
    queue.submit(new_task(), owner="ann")
    queue.submit(new_task(priority="bulk"), owner="bob")

    with pytest.raises(QueueFullError) as caught:
        queue.submit(new_task(), owner="cid")

    assert str(caught.value) == "2 requests wait already, no more fit. Try again in 30 s."
    assert caught.value.retry_after_s == 30
    queue.claim("w", 1)
    queue.submit(new_task(), owner="cid")


def test_one_owner_fills_no_more_than_ninety_nine_of_a_hundred_places(open_queue):
    queue = open_queue(max_waiting=1000)

    def send(owner, count, **fields):
        queue.submit_batch([new_task(**fields) for _ in range(count)], owner=owner, callback_url=None)

    send("ann", 500)
    send("ann", 490, priority="bulk")

    with pytest.raises(QueueFullError) as crowded:
        send("ann", 1)
    send("bob", 9)
    with pytest.raises(QueueFullError):
        send("ann", 1)
    send("cid", 1)
    with pytest.raises(QueueFullError) as full:
        send("bob", 1)

    assert str(crowded.value) == (
        "Nearly 1,000 requests wait already; the places left are for users who have fewer of them. Try again in 30 s."
    )
    assert str(full.value) == "1,000 requests wait already, no more fit. Try again in 30 s."


def test_places_that_get_free_in_a_full_queue_go_to_those_with_less_than_an_even_share(open_queue):
    queue = open_queue(max_waiting=200)
    mine = [queue.submit(new_task(), owner="ann") for _ in range(198)]
    for _ in range(2):
        queue.submit(new_task(), owner="bob")
    queue.cancel(mine[0].id)

    with pytest.raises(QueueFullError):
        queue.submit(new_task(), owner="ann")
    assert queue.submit(new_task(), owner="bob")


def test_a_full_queue_still_knows_the_tasks_it_accepted(open_queue):
    queue = open_queue(max_waiting=1)
    first = queue.submit(new_task(), owner="ann", idempotency_key="order 1")

    assert queue.submit(new_task(), owner="ann", idempotency_key="order 1") == first


def test_a_full_queue_that_is_quick_asks_to_come_back_sooner(open_queue):
    queue = open_queue(max_waiting=20)
    for _ in range(3):
        queue.submit_batch([new_task() for _ in range(20)], owner="ann", callback_url=None)
        for claim in queue.claim("w", 20):
            queue.succeed(claim, result())
    queue.submit_batch([new_task() for _ in range(20)], owner="ann", callback_url=None)

    with pytest.raises(QueueFullError) as caught:
        queue.submit(new_task(), owner="ann")

    assert 1 <= caught.value.retry_after_s <= 2  # one of 20 places, at 60 in one to two minutes


def test_a_waiting_task_is_cancelled_at_once_and_makes_room(open_queue):
    queue = open_queue(max_waiting=1)
    task = queue.submit(new_task(), owner="ann")

    assert queue.cancel(task.id).status == TaskStatus.CANCELLED
    assert queue.claim("w", 9) == []
    queue.submit(new_task(), owner="ann")


def test_cancelling_a_task_that_ended_changes_nothing(queue):
    task = queue.submit(new_task(), owner="ann")
    queue.succeed(queue.claim("w", 1)[0], result())
    ended = queue.task(task.id)

    assert queue.cancel(task.id) == ended
    assert ended.status == TaskStatus.SUCCESS


def test_unknown_tasks_and_batches_are_none(queue):
    assert queue.task("img_x") is None
    assert queue.cancel("img_x") is None
    assert queue.batch("batch_x") is None
    assert queue.tasks([]) == []


def test_an_owners_tasks_come_newest_first_and_page_by_page(queue):
    sent = []
    for n in range(5):
        sent.append(queue.submit(new_task(), owner="ann"))
        while queue.submit(new_task(), owner="bob").created_at_s == sent[n].created_at_s:
            pass  # the clock of Redis counts milliseconds
    newest = queue.owned("ann", limit=2)

    older = queue.owned("ann", before_s=newest[-1].created_at_s)

    assert [task.id for task in newest + older] == [task.id for task in reversed(sent)]
    assert queue.owned("cid") == []


def test_pages_that_end_inside_a_batch_leave_no_task_out(queue):
    sent = [
        id
        for _ in range(3)
        for id in queue.submit_batch([new_task() for _ in range(20)], owner="ann", callback_url=None).task_ids
    ]
    found, page = [], queue.owned("ann", limit=7)
    while page:
        found += page
        page = queue.owned("ann", before_s=page[-1].created_at_s, before_id=page[-1].id, limit=7)

    assert sorted(task.id for task in found) == sorted(sent)
    assert [task.created_at_s for task in found] == sorted((task.created_at_s for task in found), reverse=True)


def test_new_ids_cannot_be_guessed():
    made = {new_task_id() for _ in range(1000)}

    assert len(made) == 1000
    assert all(id.startswith("img_") and len(id) >= 4 + 26 for id in made)

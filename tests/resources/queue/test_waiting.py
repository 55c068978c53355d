import threading
import time

import pytest

from configs.queue_settings import QueueSettings
from models.request import Priority
from resources.queue import Bells, QueueDepth, RequestQueue, WorkerState
from resources.queue.link import RedisLink
from tests.resources.queue.conftest import new_task, result, state
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

DEADLINE_S = 120


@pytest.fixture
def in_background():
    """Runs a function in a thread and waits for it at the end."""
    threads = []

    def start(function, *arguments):
        threads.append(threading.Thread(target=function, args=arguments))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_an_empty_queue_has_no_depth(queue):
    none = {Priority.INTERACTIVE: 0, Priority.BULK: 0}

    assert queue.depth() == QueueDepth(none, jobs=0, processing=0, abandoned=0, oldest_waiting_s=0, dead=0)
    assert not queue.wait_for_work(0)


def test_the_depth_counts_what_waits_runs_and_is_abandoned(queue):
    for priority in ("interactive", "interactive", "interactive", "bulk"):
        queue.submit(new_task(priority=priority), owner="ann")
    queue.claim("dead", 1)
    queue.claim("w", 1)
    queue.worker_ended("dead")
    time.sleep(0.01)

    depth = queue.depth()

    assert depth.waiting == {Priority.INTERACTIVE: 1, Priority.BULK: 1}
    assert (depth.processing, depth.abandoned, depth.backlog) == (1, 1, 3)
    assert 0.01 <= depth.oldest_waiting_s < DEADLINE_S


def test_waiting_for_work_ends_when_it_comes(queue, open_queue, in_background):
    seen = []

    def wait():
        found = queue.wait_for_work(DEADLINE_S)
        seen.append((found, time.monotonic()))

    in_background(wait)
    time.sleep(0.1)
    sent_s = time.monotonic()
    open_queue().submit(new_task(), owner="ann")
    while not seen:
        assert time.monotonic() < sent_s + DEADLINE_S

    assert seen[0][0]
    assert seen[0][1] - sent_s < DEADLINE_S / 2


def test_waiting_for_work_can_be_ended(queue, open_queue, in_background):
    seen = []
    in_background(lambda: seen.append(queue.wait_for_work(10 * DEADLINE_S)))
    time.sleep(0.1)

    open_queue().end_waits()

    wait_until(lambda: seen == [False], DEADLINE_S)


def test_a_blocked_claim_gets_a_task_as_it_comes(queue, open_queue, in_background):
    claimed = []
    in_background(lambda: claimed.extend(queue.claim("w", 4, block_s=DEADLINE_S)))
    time.sleep(0.1)

    task = open_queue().submit(new_task(), owner="ann")
    sent_s = time.monotonic()
    while not claimed:
        assert time.monotonic() < sent_s + DEADLINE_S

    assert claimed[0].id == task.id
    assert time.monotonic() - sent_s < DEADLINE_S / 2


def test_waiting_for_work_ends_with_a_dead_workers_lease(open_queue):
    queue = open_queue(lease_s=1)
    queue.submit(new_task(), owner="ann")
    began_s = time.monotonic()
    queue.claim("dead", 1)

    assert queue.wait_for_work(DEADLINE_S)
    assert 0.5 < time.monotonic() - began_s < DEADLINE_S / 2


def test_workers_are_known_by_their_heartbeats(open_queue):
    queue = open_queue(lease_s=1)
    mine = state("w").model_copy(update={"run_id": "r1", "batch_fill": 0.5, "counters": {"pictures": 3.0}})

    queue.renew(mine, [])

    assert queue.workers() == [mine]
    until = time.monotonic() + DEADLINE_S
    while queue.workers():
        assert time.monotonic() < until


def test_a_worker_that_ended_in_order_is_forgotten_at_once(queue, names):
    queue.renew(state("w"), [])

    assert queue.worker_ended("w") == 0
    assert queue.workers() == []
    assert names() == {"bell", "bell:bulk"}


def test_changes_are_heard_in_order(queue, in_background):
    stop, heard = threading.Event(), []
    in_background(queue.listen, heard.append, stop)
    until = time.monotonic() + DEADLINE_S
    while not heard:
        assert time.monotonic() < until
    task = queue.submit(new_task(), owner="ann")
    (claim,) = queue.claim("w", 1)
    queue.progress(claim, 50)
    queue.progress(claim, 40)
    queue.succeed(claim, result())
    while len(heard) < 4:
        assert time.monotonic() < until
    stop.set()

    assert heard == [None, *[task.id] * 3], "of a new one nobody is to be told"


def test_a_listener_outlives_a_restart_and_is_told_to_look_again(tmp_path, in_background):
    with running_redis(tmp_path) as server:
        queue = RequestQueue(RedisLink(QueueSettings.model_validate({"url": server.url, "connect_timeout_s": 1})))
        stop, heard = threading.Event(), []
        in_background(queue.listen, heard.append, stop)
        until = time.monotonic() + DEADLINE_S
        while heard != [None]:
            assert time.monotonic() < until
        server.kill()
        server.start()
        while heard != [None, None]:
            assert time.monotonic() < until
        task = queue.submit(new_task(), owner="ann")
        queue.claim("w", 1)
        while heard != [None, None, task.id]:
            assert time.monotonic() < until
        stop.set()


def test_what_the_worker_of_a_later_version_says_beyond_this_one_is_left_out(queue):
    class LaterState(WorkerState):
        fans: int = 2

    queue.renew(LaterState(id="w", started_at_s=1.0), [])

    assert queue.workers() == [WorkerState(id="w", started_at_s=1.0)]


def test_the_bell_of_the_bulk_lane_is_heard_by_those_who_have_room_for_it(queue):
    queue.submit(new_task(priority="bulk"), owner="ann")
    nothing = Bells()
    assert queue.hear(nothing, 0.05, with_bulk=False) == nothing

    bells = queue.hear(nothing, DEADLINE_S, with_bulk=True)
    assert bells != nothing
    assert queue.hear(bells, 0.05, with_bulk=True) == bells
    queue.submit(new_task(), owner="ann")
    heard = queue.hear(bells, DEADLINE_S, with_bulk=False)

    assert (heard.any != bells.any, heard.bulk) == (True, bells.bulk)

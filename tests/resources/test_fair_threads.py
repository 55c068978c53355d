import threading

import pytest

from resources.fair_threads import FairThreads
from tests.support.waiting import wait_until


@pytest.fixture
def threads():
    threads = FairThreads(4, 2, "test")
    yield threads
    threads.close()


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def test_calls_are_answered_with_what_they_return_or_raise(threads):
    assert threads.submit("ann", lambda: 7).result(60) == 7
    with pytest.raises(ZeroDivisionError):
        threads.submit("ann", lambda: 1 / 0).result(60)
    wait_until(lambda: not threads.held())


def test_one_owner_never_has_more_threads_than_one_may(threads, gate):
    greedy = [threads.submit("greedy", lambda: gate.wait(60)) for _ in range(50)]
    assert threads.submit("late", lambda: 7).result(60) == 7
    assert sum(call.running() for call in greedy) == 2
    wait_until(lambda: threads.held() == {"greedy": 50})


def test_owners_take_turns(gate):
    threads, done = FairThreads(1, 1, "test"), []
    threads.submit("ann", lambda: gate.wait(60))
    for owner in ("ann", "ann", "ann", "bob", "cem", "bob"):
        threads.submit(owner, lambda owner=owner: done.append(owner))
    gate.set()
    wait_until(lambda: len(done) == 6)
    assert done == ["ann", "bob", "cem", "ann", "bob", "ann"]
    threads.close()


def test_a_call_that_is_cancelled_before_its_turn_is_passed_over(threads, gate):
    done = []
    for _ in range(2):
        threads.submit("ann", lambda: gate.wait(60))
    assert threads.submit("ann", lambda: done.append("cancelled")).cancel()
    last = threads.submit("ann", lambda: done.append("wanted"))
    gate.set()
    last.result(60)
    assert done == ["wanted"]


def test_after_the_end_nothing_begins(threads, gate):
    for _ in range(2):
        threads.submit("ann", lambda: gate.wait(60))
    waiting = threads.submit("ann", lambda: 7)
    threads.close()
    assert waiting.cancelled()
    assert threads.submit("bob", lambda: 7).cancelled()

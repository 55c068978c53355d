import threading

import pytest

from ops.serving.preparing import THREADS, THREADS_PER_OWNER, Preparing
from tests.support.waiting import wait_until


@pytest.fixture
def preparing():
    preparing = Preparing()
    yield preparing
    preparing.close()


class Calls:
    """Calls that say that they have begun, and then wait."""

    def __init__(self):
        self.begun = []
        self.may_end = threading.Event()

    def of(self, owner):
        def call():
            self.begun.append(owner)
            self.may_end.wait(60)

        return call


@pytest.fixture
def calls():
    calls = Calls()
    yield calls
    calls.may_end.set()


def test_an_owner_has_few_threads_and_leaves_the_others_theirs(preparing, calls):
    for _ in range(60):
        preparing.submit("greedy", calls.of("greedy"))
    preparing.submit("late", calls.of("late"))

    wait_until(lambda: "late" in calls.begun)
    assert calls.begun.count("greedy") == THREADS_PER_OWNER


def test_owners_take_turns_for_the_last_threads(preparing, calls):
    owners = [f"owner {number}" for number in range(THREADS)]
    for owner in owners:
        for _ in range(3):
            preparing.submit(owner, calls.of(owner))
    wait_until(lambda: len(calls.begun) == THREADS)

    calls.may_end.set()
    wait_until(lambda: len(calls.begun) == 3 * THREADS)
    assert sorted(calls.begun) == sorted(3 * owners)


def test_a_call_that_fails_gives_its_thread_back(preparing, calls):
    def fail():
        raise SystemExit

    for _ in range(2 * THREADS):
        preparing.submit("ann", fail)
    preparing.submit("ann", calls.of("ann"))
    wait_until(lambda: calls.begun == ["ann"])


def test_after_the_end_nothing_begins(preparing, calls):
    preparing.close()
    preparing.submit("ann", calls.of("ann"))
    assert calls.begun == []

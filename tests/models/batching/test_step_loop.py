"""The loop with a runner of a few lines: joining, leaving, cancelling, waiting, failing."""

import threading
import time

import pytest

from models.batching.step_loop import StepLoop
from models.batching.ticket import Group, Ticket
from models.image import BatchItem, GeneratedImage
from models.pipeline_pool import PoolKey
from models.request import Priority
from tests.support.listening import Waiting

SOON_S = 60
"""Long for a busy machine, and half of what the loop waits for company."""
GROUP = Group("m", PoolKey("m", "eager", "cpu", "float32"))


class Steps:
    """A runner whose tickets take as many steps as their id says; each turn waits for `gate`."""

    def __init__(self) -> None:
        self.turns: list[list[str]] = []
        self.gate = threading.Semaphore(0)
        self.failure: Exception | None = None

    def batch_limit(self, group) -> int:
        return 3

    def is_loaded(self, group) -> bool:
        return True

    def is_away(self, group) -> bool:
        return False

    def advance(self, turn, report) -> None:
        assert self.gate.acquire(timeout=60)
        if self.failure:
            raise self.failure
        self.turns.append([ticket.id for ticket in turn[1]])
        for ticket in turn[1]:
            ticket.state = (ticket.state or 0) + 1
            report.stepped(ticket, ticket.state, int(ticket.id))
            if ticket.state == int(ticket.id):
                report.ended(ticket, GeneratedImage(ticket.id, None, None))


@pytest.fixture
def runner():
    return Steps()


@pytest.fixture
def heard():
    return Waiting()


@pytest.fixture
def loop(runner):
    loop = StepLoop(runner, max_wait_s=2 * SOON_S)
    yield loop
    for _ in range(1000):
        runner.gate.release()
    loop.finish()


def ticket(heard, steps: int, priority=Priority.BULK) -> Ticket:
    return Ticket(str(steps), BatchItem(None), GROUP, heard, priority)


def test_a_ticket_joins_at_the_next_step_and_leaves_when_it_is_done(loop, runner, heard):
    loop.submit(ticket(heard, 4))
    runner.gate.release()
    heard.wait_for(lambda: len(heard.steps) == 1)
    loop.submit(ticket(heard, 2))
    for _ in range(4):
        runner.gate.release()
    heard.wait_for(lambda: len(heard.results) == 2)

    # The loop may have chosen its second turn before the second ticket came.
    assert runner.turns in (
        [["4"], ["4", "2"], ["4", "2"], ["4"]],
        [["4"], ["4"], ["4", "2"], ["4", "2"]],
    )


def test_steps_and_results_reach_the_listener(loop, runner, heard):
    loop.submit(ticket(heard, 2))
    for _ in range(2):
        runner.gate.release()
    heard.wait_for(lambda: heard.results)

    assert heard.steps == [("2", 1, 2), ("2", 2, 2)]
    assert isinstance(heard.results["2"], GeneratedImage)


def test_a_cancelled_ticket_leaves_before_the_next_step(loop, runner, heard):
    first, second = ticket(heard, 100), ticket(heard, 3)
    loop.submit(first)
    loop.submit(second)
    runner.gate.release()
    heard.wait_for(lambda: heard.steps)
    loop.cancel(first)
    for _ in range(10):
        runner.gate.release()
    heard.wait_for(lambda: len(heard.results) == 2)

    assert heard.results["100"].error == "cancelled"
    assert sum("100" in turn for turn in runner.turns) <= 2
    assert isinstance(heard.results["3"], GeneratedImage)


def test_a_ticket_that_has_ended_is_not_cancelled(loop, runner, heard):
    one = ticket(heard, 1)
    loop.submit(one)
    runner.gate.release()
    heard.wait_for(lambda: heard.results)

    loop.cancel(one)
    loop.finish()

    assert isinstance(heard.results["1"], GeneratedImage)


def test_nothing_waits_unless_more_is_announced(loop, runner, heard):
    runner.gate.release()
    started = time.monotonic()

    loop.submit(ticket(heard, 1))
    heard.wait_for(lambda: heard.results)

    assert time.monotonic() - started < SOON_S


def test_an_announced_feed_is_waited_for_until_it_says_that_it_is_done(loop, runner, heard):
    loop.announce(1)
    for steps in (1, 2):
        loop.submit(ticket(heard, steps))
        time.sleep(0.05)
    loop.announce(-1)
    for _ in range(2):
        runner.gate.release()
    heard.wait_for(lambda: len(heard.results) == 2)

    assert runner.turns[0] == ["1", "2"]


def test_a_full_batch_waits_for_nothing(loop, runner, heard):
    loop.announce(1)
    for steps in (1, 2, 3):
        loop.submit(ticket(heard, steps))
    for _ in range(3):
        runner.gate.release()
    started = time.monotonic()
    heard.wait_for(lambda: len(heard.results) == 3)
    loop.announce(-1)

    assert time.monotonic() - started < SOON_S


def test_a_listener_that_raises_stops_nobody_else(loop, runner, heard, caplog):
    class Rude(Waiting):
        def stepped(self, job_id, done, total) -> None:
            raise LookupError("rude")

    loop.submit(ticket(Rude(), 1))
    loop.submit(ticket(heard, 2))
    for _ in range(3):
        runner.gate.release()
    heard.wait_for(lambda: heard.results)

    assert "the listener of job 1 failed" in caplog.messages


def test_a_bug_of_the_loop_fails_every_ticket_instead_of_hanging(loop, runner, heard, caplog):
    runner.failure = KeyError("a bug")
    loop.submit(ticket(heard, 1))
    loop.submit(ticket(heard, 2))
    runner.gate.release()
    heard.wait_for(lambda: len(heard.results) == 2)

    assert {result.error for result in heard.results.values()} == {"the engine failed: KeyError: 'a bug'"}
    runner.failure = None
    runner.gate.release()
    loop.submit(ticket(heard, 1 + 2))
    for _ in range(3):
        runner.gate.release()
    heard.wait_for(lambda: len(heard.results) == 3)
    assert isinstance(heard.results["3"], GeneratedImage)


def test_finish_waits_for_all_and_the_next_ticket_starts_again(loop, runner, heard):
    for _ in range(3):
        runner.gate.release()
    loop.submit(ticket(heard, 1))

    loop.finish()
    assert heard.results
    loop.submit(ticket(heard, 2))
    loop.finish()

    assert set(heard.results) == {"1", "2"}

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from models.batching.step_queue import BULK_PATIENCE_S, SWITCH_PATIENCE_S, StepQueue
from models.batching.ticket import Group, Ticket
from models.pipeline_pool import PoolKey
from models.request import Priority

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


def group(name: str, model="m") -> Group:
    return Group(model, PoolKey(model, "eager", "cpu", "float32"), (name,))


def ticket(name, at=0.0, priority=BULK, model="m", id="") -> Ticket:
    return Ticket(id, None, group(name, model), None, priority, at)


@dataclass(frozen=True)
class Models:
    """Groups of models of which some are loaded and some on their way."""

    limit: int
    loaded: Sequence[str]
    away: Sequence[str]

    def batch_limit(self, group) -> int:
        return self.limit

    def is_loaded(self, group) -> bool:
        return group.model in self.loaded

    def is_away(self, group) -> bool:
        return group.model in self.away


def queue(*tickets, limit=4, loaded=("m",), away=()) -> StepQueue:
    made = StepQueue(Models(limit, loaded, away))
    for one in tickets:
        made.add(one)
    return made


def ids(turn) -> list[str]:
    return [one.id for one in turn[1]]


def test_without_tickets_there_is_no_turn():
    assert queue().next(0.0) is None


def test_a_group_whose_model_is_on_its_way_is_passed_over():
    waiting = queue(ticket("a", 0.0, INTERACTIVE, "far"), ticket("b", 9.0), away=["far"])

    assert waiting.next(10.0)[0] == group("b")
    assert queue(ticket("a", 0.0, INTERACTIVE, "far"), away=["far"]).next(10.0) is None


def test_a_turn_is_the_oldest_tickets_of_one_group():
    turn = queue(*[ticket("a", at, id=str(at)) for at in range(6)], ticket("b")).next(6.0)

    assert turn[0] == group("a")
    assert ids(turn) == ["0", "1", "2", "3"]


def test_interactive_tickets_go_before_bulk_ones_even_into_a_full_group():
    waiting = queue(*[ticket("a", at, id=f"bulk {at}") for at in range(4)])
    waiting.add(ticket("a", 9, INTERACTIVE, id="now"))

    assert ids(waiting.next(9.0)) == ["now", "bulk 0", "bulk 1", "bulk 2"]


def test_groups_with_interactive_tickets_go_before_groups_without():
    waiting = queue(ticket("a", 0), ticket("b", 1, INTERACTIVE))

    assert waiting.next(1.0)[0] == group("b")


def test_a_bulk_ticket_that_has_waited_long_counts_as_interactive():
    waiting = queue(ticket("a", 0, id="old"), *[ticket("b", at, INTERACTIVE) for at in range(3)])
    assert waiting.next(2.0)[0] == group("b")

    assert ids(waiting.next(BULK_PATIENCE_S)) == ["old"]


def test_the_group_of_the_oldest_ticket_goes_first_until_that_one_is_done():
    old, ride = ticket("a", 0), ticket("a", 5)
    waiting = queue(ticket("b", 1), ticket("b", 2), old, ride)

    for _ in range(9):
        assert waiting.next(9.0)[1] == [old, ride]
    waiting.remove(old)

    assert waiting.next(9.0)[0] == group("b")


def test_the_interactive_ticket_that_could_be_done_first_goes_first_but_age_wins_in_the_end():
    long, short = ticket("a", 0, INTERACTIVE), ticket("b", 1, INTERACTIVE)
    long.steps_left, short.steps_left = 50, 5
    waiting = queue(long, short)
    for name in "ab":
        waiting.served((group(name), []), 1.0, 0.1)

    assert waiting.next(1.0)[1] == [short]
    waiting.remove(short)
    late = ticket("b", 4.6, INTERACTIVE)
    late.steps_left = 5
    waiting.add(late)
    assert waiting.next(4.6)[1] == [long]


def test_the_group_of_the_oldest_bulk_ticket_goes_first_however_long_it_is():
    long, short = ticket("a", 0), ticket("b", 1)
    long.steps_left, short.steps_left = 50, 5
    waiting = queue(long, short)
    for name in "ab":
        waiting.served((group(name), []), 1.0, 0.1)

    assert waiting.next(1.0)[1] == [long]


def test_within_a_group_bulk_tickets_that_run_go_first_and_then_the_longest():
    short, long, running, old = (
        ticket("a", at, id=name) for at, name in [(1, "short"), (2, "long"), (3, "running"), (0, "old")]
    )
    for one, steps in [(short, 10), (long, 50), (running, 1), (old, 1)]:
        one.steps_left = steps
    running.state = object()
    waiting = queue(short, long, running, old, limit=3)

    assert ids(waiting.next(4.0)) == ["running", "long", "short"]
    assert ids(waiting.next(BULK_PATIENCE_S)) == ["old", "running", "long"]


def test_a_group_without_its_model_waits_while_others_have_work_but_not_for_ever():
    waiting = queue(ticket("a", 0.5), ticket("b", 0, model="other"))
    waiting.served(waiting.next(1.0), 1.0)

    assert waiting.next(SWITCH_PATIENCE_S - 0.1)[0] == group("a")
    switched = waiting.next(SWITCH_PATIENCE_S)
    assert switched[0] == group("b", "other")
    waiting.served(switched, SWITCH_PATIENCE_S)
    assert waiting.next(SWITCH_PATIENCE_S + 1)[0] == group("a")


def test_a_removed_ticket_takes_no_part():
    one = ticket("a")
    waiting = queue(one)

    waiting.remove(one)
    waiting.remove(one)

    assert waiting.next(0.0) is None
    assert len(waiting) == 0


arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([BULK, INTERACTIVE]), st.integers(0, 50), st.integers(1, 5)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(arrivals)
def test_every_ticket_is_served_to_its_end(arrivals):
    waiting, left = queue(limit=2), {}
    for place, (name, priority, at, steps) in enumerate(arrivals):
        one = ticket(name, at, priority, id=str(place))
        waiting.add(one)
        left[one] = steps
    for turn_number in range(1000):
        if not (turn := waiting.next(float(turn_number))):
            break
        assert 1 <= len(turn[1]) <= 2
        for one in turn[1]:
            left[one] -= 1
            if not left[one]:
                waiting.remove(one)
        waiting.served(turn, float(turn_number))

    assert set(left.values()) == {0}

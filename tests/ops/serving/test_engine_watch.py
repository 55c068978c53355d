import pytest

from ops.serving.engine_watch import EngineWatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes when it is told to."""
    now = [100.0]
    monkeypatch.setattr("ops.serving.engine_watch.time.monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def test_an_engine_with_nothing_to_do_is_never_silent(clock):
    watch = EngineWatch()
    clock(3600)
    assert watch.silent_s() == 0

    watch.submitted()
    clock(5)
    watch.ended()
    clock(3600)

    assert watch.silent_s() == 0


def test_silence_counts_from_the_first_picture_and_ends_with_each_step_and_end(clock):
    watch = EngineWatch()
    clock(3600)
    watch.submitted()
    clock(5)
    watch.submitted()
    clock(5)
    assert watch.silent_s() == 10

    watch.stepped()
    clock(3)
    assert watch.silent_s() == 3
    watch.ended()
    clock(2)

    assert watch.silent_s() == 2


def test_a_picture_that_ended_before_it_was_counted_leaves_nothing(clock):
    watch = EngineWatch()
    watch.ended()
    watch.submitted()
    clock(3600)

    assert watch.silent_s() == 0

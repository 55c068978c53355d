import logging
import threading

import pytest

from models.acceleration.building import Builds


class Told(logging.Handler):
    """Keeps lines, and says when there is one that ends as asked."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending, self.heard = ending, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().endswith(self.ending):
            self.heard.set()


@pytest.fixture
def told():
    logger, handler = logging.getLogger("models.acceleration.building"), Told("so far")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.heard
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_a_build_is_told_while_it_takes_long_and_is_named_as_long_as_it_runs(told):
    builds = Builds(told_every_s=0.01)

    with builds.run("engine", "exporting", "compiling") as go_on:
        assert builds.now() == ("engine: exporting (step 1 of 2), 0 s",)
        go_on()
        assert told.wait(60)
        assert builds.now()[0].startswith("engine: compiling (step 2 of 2), ")

    assert builds.now() == ()


def test_a_build_that_fails_says_so_and_is_over(caplog):
    builds = Builds()

    with pytest.raises(ValueError, match="no"), builds.run("engine", "compiling"):
        raise ValueError("no")

    assert caplog.messages[-1] == "engine: compiling (step 1 of 1), 0 s: failed"
    assert builds.now() == ()

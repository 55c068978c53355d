import os
import time

import pytest

from resources.local_store import LocalObjectStore
from sensors.kept_memory import SHORT, UNNAMED_S, KeptMemory

LONG = "1" * (SHORT + 1)


@pytest.fixture
def memory(tmp_path):
    return KeptMemory(LocalObjectStore(tmp_path), "sensor")


def files(tmp_path):
    return sorted((tmp_path / "sensors/sensor").iterdir())


def test_a_short_memory_is_the_cursor_itself_as_it_was_before_any_was_kept(memory, tmp_path):
    assert memory.keep({"a": 1}) == '{"a": 1}'
    assert memory.read('{"a": 1}') == {"a": 1}
    assert memory.read(LONG) == int(LONG)
    assert memory.read("what a person wrote") is None
    assert not (tmp_path / "sensors/sensor").exists()


def test_a_long_memory_is_an_object_and_its_cursor_short(memory, tmp_path):
    cursor = memory.keep(LONG)

    assert len(cursor) == 37
    assert memory.read(cursor) == LONG
    assert memory.keep(LONG) == cursor
    assert len(files(tmp_path)) == 1


def test_a_tick_that_is_evaluated_again_finds_the_memory_before_it(memory):
    first = memory.keep(LONG)
    memory.keep(LONG + "2")

    assert memory.read(first) == LONG


def test_what_no_tick_has_named_for_an_hour_goes_and_what_was_read_stays(memory, tmp_path):
    old, read = memory.keep(LONG), memory.keep(LONG + "2")
    for file in files(tmp_path):
        os.utime(file, (1, time.time() - UNNAMED_S - 60))
    memory.read(read)

    memory.keep(LONG + "3")

    assert memory.read(old) is None
    assert memory.read(read) == LONG + "2"


def test_a_damaged_object_is_no_memory(memory, tmp_path):
    cursor = memory.keep(LONG)
    files(tmp_path)[0].write_text("half of it")

    assert memory.read(cursor) is None

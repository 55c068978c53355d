import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from PIL import Image

from models.decoding import pool
from models.decoding.errors import UnreadableError
from models.decoding.pool import Decoders
from models.image import check_picture, marks_in
from tests.models.decoding.test_files import encoded
from tests.support.costly_pictures import many_scans, plain_webp, webp_header
from tests.support.waiting import wait_until

PICTURE = encoded(Image.new("RGB", (40, 30), "teal"), "PNG")


@pytest.fixture
def decoders():
    decoders = Decoders(2)
    yield decoders
    decoders.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


@pytest.fixture
def started():
    """The decoder processes that the test has started so far."""
    before = children()
    return lambda: children() - before


def test_a_process_is_started_when_needed_and_kept(decoders, started):
    assert started() == set()
    for _ in range(3):
        assert decoders.ask("size", PICTURE, 10_000).head["size"] == [40, 30]
    assert len(started()) == 1

    decoders.close()
    assert started() == set()


def test_so_many_at_once_and_no_more(decoders, started):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(decoders.ask("decode", plain_webp(2000, 2000), 10**7)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 6
    assert 1 <= len(started()) <= 2


def test_no_picture_waits_for_those_whose_marks_are_read(started, monkeypatch):
    monkeypatch.setattr(pool, "_pools", pool._fresh())
    check_picture(PICTURE)
    before = started()
    threads = [threading.Thread(target=marks_in, args=(PICTURE, 10_000, "")) for _ in range(pool.MOST_PROCESSES)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(started() - before) == pool.MOST_READERS)
    readers = [psutil.Process(process) for process in started() - before]
    for reader in readers:
        reader.suspend()
    try:
        assert check_picture(PICTURE) == 40 * 30
        assert all(thread.is_alive() for thread in threads)
    finally:
        for reader in readers:
            reader.resume()
        for thread in threads:
            thread.join()
        pool._end()


def test_a_picture_that_takes_too_long_ends_its_process_and_the_next_is_read(decoders, monkeypatch):
    monkeypatch.setitem(pool.MAX_CPU_S, "decode", 0.2)
    with pytest.raises(UnreadableError, match="costs more time or memory than a picture of its size may"):
        decoders.ask("decode", many_scans(50), 2**24)

    assert decoders.ask("decode", PICTURE, 10_000).head["size"] == [40, 30]


def test_one_that_does_not_answer_at_all_is_ended_by_the_clock(decoders, started, monkeypatch):
    decoders.ask("size", PICTURE, 10_000)
    monkeypatch.setattr(pool, "MAX_WALL_S", 0.5)
    (process,) = started()
    os.kill(process, signal.SIGSTOP)

    with pytest.raises(UnreadableError, match="costs more time or memory"):
        decoders.ask("decode", PICTURE, 10_000)


def test_memory_has_a_limit(decoders):
    """The canvas of this animation alone would take a gigabyte, though its picture is within the limit of pixels."""
    with pytest.raises(UnreadableError, match="too large"):
        decoders.ask("decode", webp_header(16_384, 8_000), 10**6)


def test_a_process_killed_by_others_costs_no_picture(decoders, started):
    decoders.ask("size", PICTURE, 10_000)
    (process,) = started()
    os.kill(process, signal.SIGKILL)
    assert decoders.ask("decode", PICTURE, 10_000).head["size"] == [40, 30]

    slow = threading.Thread(target=lambda: answers.append(decoders.ask("decode", many_scans(40), 2**24)))
    answers: list[pool.Answer] = []
    slow.start()
    (process,) = started()
    wait_until(lambda: psutil.Process(process).cpu_times().user > 0.1)
    os.kill(process, signal.SIGKILL)
    slow.join()
    assert answers[0].head["size"] == [4096, 4096]


def test_it_has_none_of_the_secrets_and_no_torch(decoders, started, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_STORE__SECRET_KEY", "hush")
    decoders.ask("decode", PICTURE, 10_000)
    (pid,) = started()
    process = psutil.Process(pid)

    assert not any(name.startswith("IMAGEGENX") for name in process.environ())
    assert not any("torch" in mapped.path for mapped in process.memory_maps())
    assert process.memory_info().rss < 120_000_000


def test_it_ends_with_its_parent_however_that_ends():
    code = (
        "import sys, time, psutil; from models.image import check_picture; check_picture(sys.stdin.buffer.read());"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        parent.stdin.write(PICTURE)
        parent.stdin.close()
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(60)


def test_ctrl_c_and_inherited_signals_leave_it_as_it_should_be(decoders, started):
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    try:
        decoders.ask("size", PICTURE, 10_000)
    finally:
        signal.signal(signal.SIGPROF, before)
    (pid,) = started()
    os.kill(pid, signal.SIGINT)
    time.sleep(0.05)

    assert decoders.ask("decode", PICTURE, 10_000).head["size"] == [40, 30]
    assert started() == {pid}
    os.kill(pid, signal.SIGPROF)
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)

"""A stack's processes end together, however one of them or their starter ends."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from imagegenx_cli.processes import ProcessEndedError, ProcessStack, is_alive
from tests.support.waiting import wait_until

SLEEPER = "import time; time.sleep(600)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
print(child.pid, flush=True)
time.sleep(600)
"""
FORKER = """
import signal, time
from multiprocessing import get_context
signal.signal(signal.SIGTERM, lambda *_: None)
worker = get_context("forkserver").Process(target=time.sleep, args=(600,))
worker.start()
print("at work", flush=True)
worker.join()
print("worker ended with", worker.exitcode, flush=True)
"""
SERVER = """
import os, signal, time
from multiprocessing import get_context
signal.signal(signal.SIGTERM, lambda *_: None)
context = get_context("forkserver")

def begin():
    worker = context.Process(target=time.sleep, args=(600,))
    worker.start()
    print("at work", worker.pid, flush=True)
    return worker

for _ in range(2):
    worker = begin()
    worker.join()
    print("worker ended with", worker.exitcode, flush=True)
begin()
os._exit(0)
"""
STARTER = """
import sys, time
from pathlib import Path
from imagegenx_cli.processes import ProcessStack
with ProcessStack(Path(sys.argv[1])) as stack:
    stack.start("part", [sys.executable, "-c", sys.argv[2]])
    print(stack._parts[0].process.pid, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_part_has_started_ends_with_the_stack(tmp_path):
    with ProcessStack(tmp_path) as stack:
        stack.start("parent", [sys.executable, "-c", PARENT])
        log = tmp_path / "parent.log"
        wait_until(lambda: log.read_text().endswith("\n"))
        child = psutil.Process(int(log.read_text()))
        os.kill(child.ppid(), signal.SIGKILL)
        with pytest.raises(ProcessEndedError, match="parent ended with signal SIGKILL"):
            stack.watch()
        assert is_alive(child)
        began = time.monotonic()
    took_s = time.monotonic() - began

    assert took_s < 10, "it was told to end, not only killed at the deadline"
    assert not is_alive(child), child.as_dict(["status", "cmdline", "ppid", "create_time"])


def test_what_a_part_said_last_is_told_without_its_colours(tmp_path):
    code = "print('line\\n' * 10_000 + '\\x1b[31mno room\\x1b[0m left'); raise SystemExit(3)"
    with ProcessStack(tmp_path) as stack:
        stack.start("part", [sys.executable, "-c", code])
        with pytest.raises(ProcessEndedError, match=r"^part ended with status 3, so [^\x1b]*\nline\nno room left$"):
            stack.watch()


def test_a_stack_whose_starter_is_killed_ends_too(tmp_path):
    command = [sys.executable, "-c", STARTER, tmp_path, SLEEPER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        part = psutil.Process(int(starter.stdout.readline()))
        assert is_alive(part)
        starter.kill()
        wait_until(lambda: not is_alive(part))


def test_a_forked_worker_ends_first_and_its_starter_sees_how(tmp_path):
    log = tmp_path / "part.log"
    with ProcessStack(tmp_path) as stack:
        stack.start("part", [sys.executable, "-c", FORKER])
        wait_until(lambda: log.read_text() == "at work\n")
        family = psutil.Process(stack._parts[0].process.pid).children(recursive=True)

    assert log.read_text() == f"at work\nworker ended with {-signal.SIGTERM}\n"
    assert not [member for member in family if is_alive(member)]


def test_workers_that_are_begun_while_a_stack_ends_are_told_and_none_outlives_it(tmp_path):
    log = tmp_path / "part.log"
    with ProcessStack(tmp_path) as stack:
        stack.start("part", [sys.executable, "-c", SERVER])
        wait_until(lambda: log.read_text().endswith("\n"))

    at_work = [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("at work")]
    assert log.read_text().count(f"worker ended with {-signal.SIGTERM}\n") == 2
    assert len(at_work) == 3
    assert not [pid for pid in at_work if psutil.pid_exists(int(pid)) and is_alive(psutil.Process(int(pid)))]

"""What a process of ours has of its parent's signals, and of the folder it is started in."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.process_start import started_clean

ROOT = Path(__file__).parent.parent.parent
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)
TELL = f"""
import signal
watched = {[int(number) for number in IGNORED]}
print(sorted(number for number in watched if signal.getsignal(number) == signal.SIG_IGN))
print(sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_SETMASK, [])))
"""
START = "from foundation.process_start import start_process; start_process()"
INHERIT = f"""
import os, signal, sys
for number in {[int(number) for number in IGNORED]}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


def told(*command):
    """What a command prints whose parent has ignored and blocked what it could."""
    inheriting = [sys.executable, "-c", INHERIT, *command]
    done = subprocess.run(inheriting, capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.splitlines()


def test_a_process_inherits_what_its_parent_ignores_unless_it_is_started_clean():
    assert told(sys.executable, "-c", TELL)[0] != "[]"
    assert told(*started_clean([sys.executable, "-c", TELL])) == ["[]", "[]"]


def test_our_own_processes_take_back_all_but_what_nohup_ignores():
    assert told(sys.executable, "-c", f"{START}\n{TELL}") == [f"[{int(signal.SIGHUP)}]", "[]"]


@pytest.mark.parametrize("stray", ["signal", "ctypes", "os", "logging"])
def test_a_stray_module_in_the_working_folder_is_not_taken(tmp_path, stray):
    (tmp_path / f"{stray}.py").write_text("raise SystemExit('stray')")

    done = subprocess.run(
        started_clean(["echo", "started"], ends_with_us=True), cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("started\n", "")


def test_closed_streams_do_not_become_the_next_file_that_is_opened(tmp_path):
    program = f"{START}\nfile = open({str(tmp_path / 'data')!r}, 'w')\nassert file.fileno() > 2\nprint('lost')"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>"$2"', sys.executable, program, tmp_path / "error"],
        cwd=ROOT,
        check=False,
    )

    assert done.returncode != 0
    assert "standard output cannot be written" in (tmp_path / "error").read_text()
    assert (tmp_path / "data").read_text() == ""

"""How a code server begins its runs, in whatever folder it keeps temporary files."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SERVER = """
import sys
from multiprocessing import get_context
from types import SimpleNamespace
from resources.code_server_runs import fork_runs

server = SimpleNamespace(_mp_ctx=get_context("spawn"), _loadable_target_origin=SimpleNamespace(module_name="json"))
fork_runs(server)
run = server._mp_ctx.Process(target=sys.exit, args=(7,))
run.start()
run.join()
print(server._mp_ctx.get_start_method(), run.exitcode)
"""


@pytest.mark.parametrize(("name", "method"), [("t", "forkserver"), ("t" * 100, "spawn")])
def test_runs_are_forked_unless_a_socket_would_have_too_long_a_path(name, method):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / name).mkdir()
        environment = os.environ | {"TMPDIR": str(Path(folder) / name)}
        command = [sys.executable, "-c", SERVER]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == [method, "7"], done.stderr

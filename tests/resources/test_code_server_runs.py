"""How a code server begins its runs, wherever it keeps temporary files, and what it tells of those that end."""

import os
import subprocess
import sys
import tempfile
import threading
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from dagster._grpc.server import DagsterApiServer

from resources.code_server_runs import look_at_runs

SERVER = """
import sys
from multiprocessing import get_context
from types import SimpleNamespace
from resources.code_server_runs import fork_runs

server = SimpleNamespace(_mp_ctx=get_context("spawn"), _loadable_target_origin=SimpleNamespace(module_name="json"))
fork_runs(server)
run = server._mp_ctx.Process(target=exec, args=("import sys; sys.exit('pandas' in sys.modules)",))
run.start()
run.join()
print(server._mp_ctx.get_start_method(), run.exitcode)
"""


@pytest.mark.parametrize(("name", "method", "is_loaded"), [("t", "forkserver", 1), ("t" * 100, "spawn", 0)])
def test_runs_are_forked_with_what_they_need_unless_a_socket_would_have_too_long_a_path(name, method, is_loaded):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / name).mkdir()
        environment = os.environ | {"TMPDIR": str(Path(folder) / name)}
        command = [sys.executable, "-c", SERVER]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == [method, str(is_loaded)], done.stderr


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED),
        (DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE),
        (DagsterRunStatus.SUCCESS, DagsterRunStatus.SUCCESS),
    ],
)
def test_a_run_whose_process_is_gone_is_cancelled_if_it_was_to_be(tmp_path, status, told):
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = create_run_for_test(instance, status=status).run_id
        gone = SimpleNamespace(is_alive=lambda: False, exitcode=0)
        server = SimpleNamespace(
            _mp_ctx=get_context("forkserver"),
            _execution_lock=threading.Lock(),
            _executions={run_id: (gone, instance.get_ref())},
            _termination_events={run_id: threading.Event()},
            _termination_times={},
            _shutdown_once_executions_finish_event=threading.Event(),
        )
        server._clear_run = lambda run_id: DagsterApiServer._clear_run(server, run_id)

        look_at_runs(server)

        assert instance.get_run_by_id(run_id).status is told
        assert server._executions == {}

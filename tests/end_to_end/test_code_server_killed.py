"""The code server and everything it started are killed at once: their runs are marked failed, and started again."""

import os
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from dagster import DagsterRunStatus

from benchmarks.processes import free_port
from configs.settings import PACKAGE_ROOT
from tests.support.dagster_daemon import open_instance, running_daemon
from tests.support.waiting import wait_until

LOCATION = """
import os, time
from pathlib import Path
from dagster import DefaultSensorStatus, Definitions, RunRequest, job, op, sensor

@op
def goes_on(context):
    Path(os.environ["SHOP"], context.run_id).touch()
    while not Path(os.environ["SHOP"], "may_end").exists():
        time.sleep(0.05)

@job
def catalog():
    goes_on()

@sensor(job=catalog, minimum_interval_seconds=1, default_status=DefaultSensorStatus.RUNNING)
def watching(context):
    return RunRequest(run_key="only")

defs = Definitions(jobs=[catalog], sensors=[watching])
"""


@pytest.fixture
def home(tmp_path):
    """A folder with the instance of `imagegenx dev`, in which runs whose process died are started again."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    document = yaml.safe_load((PACKAGE_ROOT / "configs/dagster.yaml").read_text(encoding="utf-8"))
    deployed = yaml.safe_load((PACKAGE_ROOT / "deploy/dagster.yaml").read_text(encoding="utf-8"))
    assert deployed["run_launcher"] == document["run_launcher"]
    document["run_retries"] = deployed["run_retries"]
    document["run_monitoring"]["poll_interval_seconds"] = 1
    (folder / "dagster.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (tmp_path / "location.py").write_text(LOCATION, encoding="utf-8")
    return folder


def code_server(folder: Path, port: int, environment):
    command = [sys.executable, "-m", "dagster", "api", "grpc", "-f", str(folder / "location.py"), "-p", str(port)]
    with (folder / "code.log").open("a") as log:
        return psutil.Popen([*command, "--location-name", "shop"], env=environment, stdout=log, stderr=log)


def kill(server) -> None:
    """Kill a process and all that it has started; the children cannot end before it, and tell Dagster."""
    family = [server, *server.children(recursive=True)]
    for member in family:
        member.suspend()
    for member in family:
        member.kill()
    server.wait()


@pytest.mark.timeout(600)
def test_runs_that_are_killed_with_their_code_server_fail_and_are_started_again(home, tmp_path):
    port, log = free_port(), tmp_path / "daemon.log"
    environment = os.environ | {"DAGSTER_HOME": str(home), "SHOP": str(tmp_path)}
    workspace = {"load_from": [{"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": "shop"}}]}
    (tmp_path / "workspace.yaml").write_text(yaml.safe_dump(workspace), encoding="utf-8")
    instance = open_instance(home)
    server = code_server(tmp_path, port, environment)
    try:
        with running_daemon(log, "--workspace", str(tmp_path / "workspace.yaml"), environment=environment):
            wait_until(lambda: any((tmp_path / run.run_id).exists() for run in instance.get_runs()))
            kill(server)
            (killed,) = instance.get_runs()
            assert killed.status is DagsterRunStatus.STARTED
            server = code_server(tmp_path, port, environment)

            wait_until(lambda: instance.get_run_by_id(killed.run_id).status is DagsterRunStatus.FAILURE)
            wait_until(lambda: any((tmp_path / run.run_id).exists() for run in instance.get_runs() if run != killed))
            (tmp_path / "may_end").touch()
            wait_until(
                lambda: (
                    {run.status for run in instance.get_runs()} == {DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS}
                )
            )
        (again,) = [run for run in instance.get_runs() if run.run_id != killed.run_id]
        assert again.parent_run_id == killed.run_id
        assert "started again without it" in str(instance.all_logs(killed.run_id))
        assert "Traceback" not in log.read_text()
    finally:
        kill(server)
        instance.dispose()

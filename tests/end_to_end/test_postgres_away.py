"""A deployment while PostgreSQL is away, while a serving run is killed, and while it is told to end."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import psutil
import pytest
import yaml
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._grpc.client import DagsterGrpcClient

from benchmarks.stand_in import write_stand_in_model
from configs.settings import PACKAGE_ROOT, load_settings
from imagegenx_cli.processes import is_alive
from models.admission import parse_request
from models.registry import open_registry
from resources.queue import NewTask, TaskStatus, new_task_id, open_queue
from sensors.serving_runs import SERVING_JOB
from tests.support.dagster_daemon import running_daemon
from tests.support.postgres_server import running_postgres
from tests.support.programs import program
from tests.support.waiting import wait_until

DEPLOY = PACKAGE_ROOT / "deploy"
AWAY_S = 12
"""Dagster itself gives PostgreSQL up after about six seconds."""
LEASE_S = 240
ENDED_S = 60
"""A code server has ended by then, and its requests are given back: a quarter of a lease, for machines under load."""
PATIENCE_S = 300
WILL_RETRY = "dagster/will_retry"


class Deployment:
    """The processes of deploy/compose.yaml that this is about, without containers: under an init that signals one."""

    def __init__(self, home, postgres):
        self.home, self.postgres = home, postgres
        self.settings = load_settings()
        self.queue, self.registry = open_queue(self.settings), open_registry(self.settings)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.server = None

    def start_code_server(self, stack):
        command = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["code-location"]["command"]
        place = {"0.0.0.0": "127.0.0.1", "4000": str(self.port), "python": sys.executable}
        place["imagegenx_assets.definitions"] = "tests.support.serving_location"
        init = [program("tini", package="tini"), "--"]
        log = stack.enter_context((self.home / "code_server.log").open("ab"))
        command = [*init, *(place.get(word, word) for word in command), "--working-directory", str(PACKAGE_ROOT)]
        self.server = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.home)
        stack.callback(self.kill_code_server)
        # What the health check of compose.yaml asks for, without a process each time.
        client = DagsterGrpcClient(port=self.port, host="127.0.0.1")
        wait_until(lambda: client.health_check_query() == "SERVING", PATIENCE_S)

    def kill_code_server(self):
        left = psutil.Process(self.server.pid).children(recursive=True) if self.server.poll() is None else []
        for process in (*left, self.server):
            process.kill()
        self.server.wait()

    def start_daemon(self, stack):
        location = {"grpc_server": {"host": "127.0.0.1", "port": self.port, "location_name": "imagegenx"}}
        workspace = self.home / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": [location]}))
        stack.enter_context(running_daemon(self.home / "daemon.log", "-w", str(workspace)))

    def submit(self, count=1, text="a red mug"):
        """Tasks that are accepted."""
        request = parse_request({"text": text, "params": {"resolution": "64x64"}}, self.registry)
        return [self.queue.submit(NewTask(id=new_task_id(), request=request), owner="anna").id for _ in range(count)]

    def until_done(self, tasks):
        wait_until(lambda: all(task.status is TaskStatus.SUCCESS for task in self.queue.tasks(tasks)), PATIENCE_S)

    def serving_runs(self):
        """The serving runs, the oldest first."""
        with DagsterInstance.get() as instance:
            return instance.get_runs(RunsFilter(job_name=SERVING_JOB))[::-1]

    def reported_pictures(self):
        with DagsterInstance.get() as instance:
            records = instance.fetch_materializations(AssetKey("on_demand_images"), limit=1000).records
        return sum(record.asset_materialization.metadata["pictures"].value for record in records)

    def worker(self):
        """The process of the only serving run."""
        (worker,) = self.queue.workers()
        return psutil.Process(int(worker.id.split("-")[-2]))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "dagster").mkdir()
    config = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    del config["compute_logs"]  # they need an S3 service, which this is not about
    (home / "dagster/dagster.yaml").write_text(yaml.safe_dump(config))
    with running_postgres() as postgres, pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        serving = {"IDLE_EXIT_S": "600", "REPORT_EVERY_S": "1", "SENSOR_WAIT_S": "2"}
        ours = {
            "IMAGEGENX_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "DAGSTER_POSTGRES_URL": postgres.new_database().replace("://", "+psycopg2://"),
            "IMAGEGENX_QUEUE__FSYNC": "everysec",
            "IMAGEGENX_QUEUE__LEASE_S": str(LEASE_S),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(PACKAGE_ROOT),
            **{f"IMAGEGENX_SERVING__{name}": value for name, value in serving.items()},
        }
        for name, value in (write_stand_in_model(home / "models") | ours).items():
            patch.setenv(name, value)
        deployment = Deployment(home, postgres)
        stack.callback(deployment.queue.close)
        deployment.start_code_server(stack)
        deployment.start_daemon(stack)
        yield deployment


@pytest.mark.timeout(900)
def test_an_outage_of_postgresql_ends_no_serving_run_and_loses_no_report(deployment):
    deployment.until_done(deployment.submit(2))
    before = deployment.serving_runs()

    deployment.postgres.stop()
    back_at_s = time.monotonic() + AWAY_S
    pictures = 2
    while time.monotonic() < back_at_s:
        deployment.until_done(deployment.submit())
        pictures += 1
        time.sleep(0.5)
    deployment.postgres.start()

    deployment.until_done(deployment.submit())
    wait_until(lambda: deployment.reported_pictures() == pictures + 1, PATIENCE_S)
    (run,) = deployment.serving_runs()
    assert [run.run_id] == [one.run_id for one in before]
    assert run.status is DagsterRunStatus.STARTED


@pytest.mark.timeout(900)
def test_a_killed_serving_run_is_started_once_in_its_slot(deployment):
    (killed,) = deployment.serving_runs()
    deployment.worker().kill()
    deployment.until_done(deployment.submit(2))

    first, *others = deployment.serving_runs()
    assert (first.run_id, first.status) == (killed.run_id, DagsterRunStatus.FAILURE)
    assert first.tags[WILL_RETRY] == "false"
    assert [run.tags.get("dagster/retry_number") for run in others] == [None]


@pytest.mark.timeout(900)
def test_a_code_server_that_is_told_to_end_gives_the_requests_of_its_runs_back(deployment):
    tasks = deployment.submit(24, "a slow mug")
    wait_until(lambda: deployment.queue.depth().processing > 4, PATIENCE_S)
    (serving,) = [run for run in deployment.serving_runs() if not run.is_finished]
    worker, began_s = deployment.worker(), time.monotonic()

    os.kill(deployment.server.pid, signal.SIGTERM)

    wait_until(lambda: deployment.queue.depth().processing == 0, PATIENCE_S)
    given_back_s = time.monotonic() - began_s
    deployment.server.wait(PATIENCE_S)
    ended_s = time.monotonic() - began_s
    print(f"given back after {given_back_s:.1f} s, ended after {ended_s:.1f} s")
    assert not is_alive(worker)
    assert given_back_s < ENDED_S
    assert ended_s < ENDED_S
    left = [task for task in deployment.queue.tasks(tasks) if task.status is not TaskStatus.SUCCESS]
    assert deployment.queue.depth().backlog == len(left) > 0
    # The sensor may have asked for the next one already, which waits for a code server.
    ended = {run.run_id: run.status for run in deployment.serving_runs()}
    assert ended[serving.run_id] is DagsterRunStatus.SUCCESS
    for task in left:
        deployment.queue.cancel(task.id)


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("hung_up_on")
def test_a_code_server_whose_terminal_is_closed_ends_while_postgresql_is_away(deployment):
    with ExitStack() as stack:
        deployment.start_code_server(stack)
        started = psutil.Process(deployment.server.pid).children(recursive=True)
        deployment.postgres.stop()
        stack.callback(deployment.postgres.start)
        began_s = time.monotonic()

        os.kill(deployment.server.pid, signal.SIGHUP)

        deployment.server.wait(PATIENCE_S)
        wait_until(lambda: not any(is_alive(process) for process in started), PATIENCE_S)
        assert time.monotonic() - began_s < ENDED_S

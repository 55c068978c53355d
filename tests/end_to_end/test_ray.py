"""Many machines by Ray: the chapter's commands on a real cluster of loopback addresses, with parts of it killed.

What paints is a stand-in: runs start in other processes than elsewhere, and do there what they do everywhere.
One cluster and one daemon for all tests, which follow each other: each begins where the one before has ended.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml
from dagster import DagsterInstance, DagsterRunStatus

from benchmarks.stand_in import write_stand_in_model
from configs.settings import PACKAGE_ROOT, load_settings
from gateway.main import open_service
from sensors.placement import RAY_TAG
from sensors.serving_runs import SERVING_JOB
from tests.docs.documents import commands
from tests.support.dagster_daemon import running_daemon
from tests.support.postgres_server import running_postgres
from tests.support.ray_cluster import ray_cluster
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.timeout(1100),
    # Ray 2.60 starts its client server and its allocator by shell lines without quotes: no head starts there.
    pytest.mark.skipif(" " in sys.executable, reason="Ray starts nothing from a path with a space"),
]
PATIENCE_S = 400.0
CHAPTER = [command.line for command in commands(PACKAGE_ROOT / "docs/operations.md") if command.needs.startswith("Ray")]
HEAD, FIRST_NODE = "127.0.0.2", "127.0.0.3"


def chapter(beginning: str) -> str:
    """The chapter's command that begins so, with the addresses of this machine for those of the example."""
    (line,) = [line for line in CHAPTER if line.startswith(beginning)]
    return line.replace("10.0.0.1", HEAD).replace("10.0.0.2", FIRST_NODE)


class Deployment:
    """What the machines share, the head's daemon, and what clients see."""

    def __init__(self, cluster, home: Path):
        self.cluster, self.home = cluster, home
        self.instance = DagsterInstance.get()
        settings = load_settings()
        self.service = open_service(settings)
        self.account = self.service.recognise(self.service.accounts.create("shop", qps=10_000))

    def start_head(self):
        # The API that takes runs listens where the tests are.
        words = [*shlex.split(chapter("ray start --head")), "--dashboard-host", "127.0.0.1"]
        self.cluster.start(words, self.of_machine("head"))

    def start_node(self, address: str):
        line = chapter("ray start --address").replace(FIRST_NODE, address).replace(":6379", f":{self.cluster.port}")
        return self.cluster.start([*shlex.split(line), "--num-cpus", "2", "--num-gpus", "1"], self.of_machine(address))

    def of_machine(self, name: str) -> dict[str, str]:
        """The environment of a machine: a home of its own, the rest shared."""
        (self.home / name).mkdir(exist_ok=True)
        return {"IMAGEGENX_HOME": str(self.home / name)}

    def submit(self, count: int = 1) -> list[str]:
        asked = [{"text": f"a slow mug {number}", "params": {"resolution": "64x64"}} for number in range(count)]
        return [self.service.submit(self.account, one).id for one in asked]

    def statuses(self, tasks) -> set[str]:
        return {str(self.service.task(self.account, task).status) for task in tasks}

    def until(self, happened, what: str):
        """Wait for it; where it does not come about, show what everybody said."""
        try:
            wait_until(happened, PATIENCE_S)
        except AssertionError:
            runs = [(run.run_id, run.job_name, run.status.value) for run in self.instance.get_runs()]
            daemon = (self.home / "daemon.log").read_text(errors="replace")[-6000:]
            pytest.fail(f"{what} did not happen.\n{runs}\n{daemon}\n{self.cluster.logs()}")

    def until_made(self, tasks):
        self.until(lambda: self.statuses(tasks) == {"success"}, "the pictures")

    def runs(self, *statuses: DagsterRunStatus):
        """The serving runs in these states, or all, the oldest first."""
        runs = [run for run in self.instance.get_runs()[::-1] if run.job_name == SERVING_JOB]
        return [run for run in runs if not statuses or run.status in statuses]

    def worker(self):
        """(run, process, home) of the worker that beats."""
        self.until(lambda: self.service.queue.workers(), "a worker's heartbeat")
        (worker,) = self.service.queue.workers()
        process = psutil.Process(int(worker.id.rsplit("-", 2)[1]))
        return self.instance.get_run_by_id(worker.run_id), process, process.environ()["IMAGEGENX_HOME"]

    def messages(self, run) -> str:
        return "\n".join(event.message for event in self.instance.all_logs(run.run_id))


@contextmanager
def environment(**values: str):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """The shared services and the daemon; no machine of Ray's has started yet."""
    home = tmp_path_factory.mktemp("ray")
    dagster_home = home / "dagster"
    dagster_home.mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder,
        running_postgres() as postgres,
        running_redis(tmp_path_factory.mktemp("redis")) as redis,
        ray_cluster(Path(folder)) as cluster,
        environment(
            **write_stand_in_model(tmp_path_factory.mktemp("model"))
            | {
                "DAGSTER_HOME": str(dagster_home),
                "DAGSTER_POSTGRES_URL": postgres.new_database().replace("://", "+psycopg2://"),
                "IMAGEGENX_HOME": str(home),
                "IMAGEGENX_STORE__PATH": str(home / "store"),
                "IMAGEGENX_QUEUE__URL": redis.url,
                "IMAGEGENX_QUEUE__LEASE_S": "5",
                "IMAGEGENX_SERVING__REPORT_EVERY_S": "2",
                "IMAGEGENX_SERVING__SENSOR_WAIT_S": "1",
                "IMAGEGENX_PLACEMENT__LAUNCHER": "ray",
                "IMAGEGENX_ENGINE__FLEET": "true",
                "RAY_API_SERVER_ADDRESS": cluster.address,
                "OMP_NUM_THREADS": "1",
                # Where the nodes find the command of a run, as in an environment that is activated.
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            }
        ),
    ):
        write_dagster_yaml(dagster_home)
        deployment = Deployment(cluster, home)
        with running_daemon(home / "daemon.log", "-m", "tests.support.serving_location"):
            yield deployment
        deployment.service.queue.close()
        deployment.instance.dispose()


def write_dagster_yaml(folder: Path) -> None:
    """As the chapter says; but there is no S3 service for what runs print, and a run that died is found sooner."""
    subprocess.run(["bash", "-c", chapter("cat deploy/dagster.yaml")], cwd=PACKAGE_ROOT, check=True)
    document = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8"))
    del document["compute_logs"]
    document["run_monitoring"]["poll_interval_seconds"] = 2
    document["run_coordinator"]["config"]["user_code_failure_retry_delay"] = 2
    (folder / "dagster.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def test_a_run_waits_for_a_head_that_is_away_and_then_serves_on_a_node(deployment):
    tasks = deployment.submit()
    waits = "re-submitting the run"
    deployment.until(lambda: any(waits in deployment.messages(run) for run in deployment.runs()), "a launch in vain")

    deployment.start_head()
    deployment.start_node(FIRST_NODE)
    deployment.until_made(tasks)

    run, _, home = deployment.worker()
    assert deployment.runs() == [run]
    assert json.loads(run.tags[RAY_TAG]) == {"num_cpus": 1.0, "num_gpus": 1}
    assert home == str(deployment.home / FIRST_NODE)
    stats = deployment.instance.get_run_stats(run.run_id)
    print(f"cold start of a run: {stats.start_time - stats.launch_time:.1f} s")


def test_a_killed_run_fails_and_its_successor_does_what_it_had(deployment):
    run, process, _ = deployment.worker()
    tasks = deployment.submit(8)

    process.kill()

    deployment.until_made(tasks)
    assert deployment.instance.get_run_by_id(run.run_id).status is DagsterRunStatus.FAILURE
    assert deployment.worker()[0].run_id != run.run_id


def test_a_run_that_is_told_to_end_gives_its_requests_back(deployment):
    run, process, _ = deployment.worker()
    tasks = deployment.submit(8)

    process.send_signal(signal.SIGTERM)

    deployment.until(lambda: not process.is_running(), "the end of the process")
    deployment.until_made(tasks)
    assert deployment.instance.get_run_by_id(run.run_id).status is DagsterRunStatus.SUCCESS


def test_a_cancelled_run_ends(deployment):
    run, process, _ = deployment.worker()

    assert deployment.instance.run_launcher.terminate(run.run_id)

    deployment.until(lambda: not process.is_running(), "the end of the process")
    deployment.until(lambda: deployment.instance.get_run_by_id(run.run_id).is_finished, "the end of the run")
    assert deployment.instance.get_run_by_id(run.run_id).status is DagsterRunStatus.CANCELED

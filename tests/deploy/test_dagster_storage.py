"""The production dagster.yaml on a real PostgreSQL and a real S3 service: what Dagster keeps, and where."""

import os
import shutil
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from dagster import (
    AssetCheckKey,
    AssetKey,
    DagsterInstance,
    DagsterRunStatus,
    RunsFilter,
    in_process_executor,
    job,
    op,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_aws.s3 import S3ComputeLogManager
from dagster_postgres import PostgresRunStorage

from benchmarks.stand_in import MODEL, StandInGPUEngine, write_stand_in_model
from configs.settings import load_settings
from imagegenx_assets.definitions import defs
from imagegenx_assets.jobs import CATALOG_JOB
from imagegenx_cli.catalogs import add_partition
from io_managers.image_set import read_image_set
from resources.dagster_names import CATALOG_POOL, QUALITY, STAGES
from resources.open_store import open_store
from tests.support.dagster_daemon import running_daemon

DAGSTER_YAML = Path(__file__).parent.parent.parent / "deploy" / "dagster.yaml"
CODE_LOCATION = Path(__file__).parent.parent / "support" / "code_location.py"
DAEMON_TIMEOUT_S = 300
CSV = "id,text,resolution\na,a red mug,64x64\nb,蓝色的杯子,64x64\n"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, s3_server, postgres_server):
    """A home folder, a database and a bucket, and the environment that names them; yields the database's URL."""
    home = tmp_path_factory.mktemp("home")
    (home / "catalogs").mkdir()
    (home / "catalogs/spring.csv").write_text(CSV, encoding="utf-8")
    (home / "dagster").mkdir()
    shutil.copyfile(DAGSTER_YAML, home / "dagster/dagster.yaml")
    s3 = s3_server.own_bucket()
    with pytest.MonkeyPatch.context() as patch:
        url = postgres_server.new_database()
        ours = {
            "IMAGEGENX_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "DAGSTER_POSTGRES_URL": url.replace("://", "+psycopg2://"),
        }
        boto = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        boto |= dict.fromkeys(("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"), "when_required")
        more = {"DAGSTER_S3_URL": f"http://{s3.endpoint}", "IMAGEGENX_STORE__PREFIX": "pictures"}
        for name, value in (write_stand_in_model(home / "models") | s3.environment() | ours | boto | more).items():
            patch.setenv(name, value)
        yield url


def opened():
    """The instance as a process of its own would open it: nothing is remembered from an earlier one."""
    return DagsterInstance.get()


@pytest.fixture(scope="module")
def run_id(deployment):
    """A run of the catalog job, as a code location's process does it."""
    with opened() as instance:
        add_partition(instance, "spring")
        job = defs.resolve_job_def(CATALOG_JOB)
        resources = {"gpu_engine": StandInGPUEngine()}
        return job.execute_in_process(instance=instance, partition_key="spring", resources=resources).run_id


@op
def speak():
    print("a line of a run")


@job(executor_def=in_process_executor)
def speaking():
    speak()


def rows(url, query):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_runs_events_and_partitions_are_in_postgresql(deployment, run_id):
    assert rows(deployment, "SELECT run_id, status FROM runs") == [(run_id, "SUCCESS")]
    (events,) = rows(deployment, "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'")
    assert events[0] >= 6
    assert ("spring",) in rows(deployment, "SELECT partition FROM dynamic_partitions")


def test_another_process_finds_the_run_and_its_materializations(deployment, run_id):
    with opened() as instance:
        assert isinstance(instance.run_storage, PostgresRunStorage)
        (run,) = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.SUCCESS]))
        assert run.run_id == run_id
        assert run.tags["dagster/partition"] == "spring"
        assert {record.asset_entry.last_run_id for record in instance.get_asset_records()} >= {run_id}


def test_the_pictures_lie_below_their_prefix_and_what_runs_print_beside_them(deployment, run_id):
    settings = load_settings().store
    thumbnails = read_image_set(open_store(settings), "thumbnails", "spring").rows()
    assert [str(row.status) for row in thumbnails] == ["passed", "passed"]
    with opened() as instance:
        assert isinstance(instance.compute_log_manager, S3ComputeLogManager)
        spoken = speaking.execute_in_process(instance=instance).run_id
    # In containers, these two are all that can be written to beside it (compose.yaml).
    beside = {path.name for path in Path(os.environ["DAGSTER_HOME"]).iterdir()}
    assert beside <= {"dagster.yaml", "logs", ".logs_queue"}
    everything = open_store(settings.model_copy(update={"prefix": ""}))
    assert {found.key.split("/")[0] for found in everything.list()} == {"pictures", "compute-logs"}
    assert any(spoken in found.key for found in everything.list("compute-logs/"))


def daemon(log, *location):
    """Dagster's daemon over a code location, as the deployment starts it."""
    return running_daemon(log, *location, "--log-format", "json")


def wait_until(happened, process, log):
    """Wait for something to come about while the daemon runs."""
    deadline = time.monotonic() + DAEMON_TIMEOUT_S
    while not happened():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_a_daemons_ticks_cursors_schedules_and_runs_are_in_postgresql(deployment, run_id, tmp_path):
    log = tmp_path / "daemon.log"
    done = "SELECT 1 FROM runs WHERE pipeline_name = 'greeting' AND status = 'SUCCESS'"
    with daemon(log, "-f", str(CODE_LOCATION)) as process:
        wait_until(lambda: rows(deployment, done), process, log)

    (greeting,) = rows(deployment, "SELECT run_id FROM runs WHERE pipeline_name = 'greeting'")
    assert ("SUCCESS",) in rows(deployment, "SELECT status FROM job_ticks")
    with opened() as instance:
        states = {state.instigator_name: state.instigator_data for state in instance.all_instigator_state()}
    assert int(states["counting"].cursor) >= 1
    assert states["every_morning"].cron_schedule == "0 6 * * *"
    outputs = open_store(load_settings().store.model_copy(update={"prefix": "compute-logs"}))
    printed = [outputs.get(found.key) for found in outputs.list(f"storage/{greeting[0]}/") if found.key.endswith("out")]
    assert [text for text in printed if b"hello from the run" in text]


DROPPED = "id,text,resolution\na,a green mug,64x64\nb,a teal hat,64x64\n"


@pytest.mark.timeout(900)
def test_a_dropped_catalog_becomes_pictures_by_our_own_sensors_and_assets(deployment, run_id, tmp_path, monkeypatch):
    at_once = {"CATALOG_SOURCE__INTERVAL_S": "1", "RELEASES__INTERVAL_S": "1", "SERVING__SENSOR_WAIT_S": "1"}
    for name, value in at_once.items():
        monkeypatch.setenv(f"IMAGEGENX_{name}", value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    inbox = load_settings().catalog_source.folder
    inbox.mkdir()
    (inbox / "summer.csv").write_text(DROPPED, encoding="utf-8")
    log = tmp_path / "daemon.log"
    observed = "SELECT 1 FROM event_logs WHERE dagster_event_type = 'ASSET_OBSERVATION' AND asset_key LIKE '%releases%'"
    made = "SELECT status FROM runs JOIN run_tags USING (run_id) WHERE key = 'dagster/partition' AND value = 'summer'"

    with daemon(log, "-m", "benchmarks.stand_in_location") as process:
        wait_until(lambda: rows(deployment, made) == [("SUCCESS",)], process, log)
        wait_until(lambda: rows(deployment, observed), process, log)

    pictures = read_image_set(open_store(load_settings().store), "watermarked_images", "summer").rows()
    assert [(row.row_id, row.model, row.error) for row in pictures] == [("a", MODEL, ""), ("b", MODEL, "")]
    with opened() as instance:
        assert "summer" in instance.get_materialized_partitions(AssetKey("gallery"))
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}[CATALOG_POOL] == 1
        results = [
            instance.event_log_storage.get_asset_check_execution_history(AssetCheckKey(AssetKey(asset), QUALITY), 1)[0]
            for asset in STAGES
        ]
    assert [result.status for result in results] == [AssetCheckExecutionRecordStatus.SUCCEEDED] * len(STAGES)

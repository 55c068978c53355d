"""The making of an instance, and runs whose process is gone, on real ones."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys

import dagster as dg
import pytest

import resources.sqlite_storage  # noqa: F401 Dagster's own storage takes no path with % or ?
from imagegenx_cli.embedded_dagster import (
    PROCESS_TAG,
    code_server_folder,
    dagster_home,
    end_dead_runs,
    this_process,
)
from imagegenx_cli.files import FileError
from tests.support.dagster_instances import local_instance
from tests.support.forked import Forked
from tests.support.instance_makers import open_instance
from tests.support.waiting import wait_until

TELL = "from imagegenx_cli.embedded_dagster import this_process; print(*this_process().values())"


@dg.job
def nothing():
    """A job without steps."""


@pytest.fixture
def instance(tmp_path):
    with local_instance(tmp_path) as instance:
        yield instance


def status_of(instance, tags):
    """What becomes of a run under way with these tags."""
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED, tags=tags)
    end_dead_runs(instance)
    return instance.get_run_by_id(run.run_id).status


@pytest.fixture(scope="module")
def ended():
    """The tag of a run whose process has ended."""
    return subprocess.run([sys.executable, "-c", TELL], capture_output=True, text=True, check=True).stdout.strip()


def test_a_run_whose_process_is_gone_has_failed_and_one_whose_process_lives_goes_on(instance, ended):
    assert status_of(instance, {PROCESS_TAG: ended}) is dg.DagsterRunStatus.FAILURE
    assert status_of(instance, this_process()) is dg.DagsterRunStatus.STARTED
    assert status_of(instance, {}) is dg.DagsterRunStatus.STARTED


def test_a_process_of_another_machine_or_container_cannot_be_seen_and_its_run_goes_on(instance, ended):
    elsewhere = ended.replace(socket.gethostname(), "elsewhere", 1)

    assert status_of(instance, {PROCESS_TAG: elsewhere}) is dg.DagsterRunStatus.STARTED


@pytest.mark.parametrize(
    ("folder", "status"),
    [
        (f"{code_server_folder()}gone", dg.DagsterRunStatus.FAILURE),
        ("tmp_of_dagster", dg.DagsterRunStatus.FAILURE),
        ("imagegenx-01234567-gone", dg.DagsterRunStatus.STARTED),
    ],
)
def test_a_run_of_a_code_server_that_is_gone_has_failed_unless_it_is_another_machines(
    instance, folder, status, tmp_path
):
    tags = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(tmp_path / folder / "code.sock")})}

    assert status_of(instance, tags) is status


def test_an_instance_whose_making_was_killed_is_made_again(tmp_path):
    def reached(pattern):
        return lambda: process.poll() is not None or any(tmp_path.rglob(pattern))

    for moment in ("dagster.yaml", "runs.db", "index.db", "schedules.db"):
        process = Forked(open_instance, tmp_path)
        wait_until(reached(moment))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        for left in tmp_path.glob(".dagster-*"):  # else the next moment would be there already
            shutil.rmtree(left)

    assert [Forked(open_instance, tmp_path).wait(), Forked(open_instance, tmp_path).wait()] == [0, 0]


def test_processes_that_make_an_instance_at_once_use_the_same(tmp_path):
    processes = [Forked(open_instance, tmp_path) for _ in range(3)]

    assert [process.wait() for process in processes] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["dagster"]


def test_a_home_that_dagster_takes_for_a_pattern_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")

    with pytest.raises(FileError, match=re.escape(f"{tmp_path}/[new]/dagster cannot hold the Dagster instance: ")):
        dagster_home(tmp_path / "[new]")

    assert list(tmp_path.iterdir()) == []


def test_databases_that_are_there_already_are_kept(tmp_path):
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster/mine.db").write_bytes(b"mine")

    assert Forked(open_instance, tmp_path).wait() == 0

    assert (tmp_path / "dagster/mine.db").read_bytes() == b"mine"
    assert (tmp_path / "dagster/dagster.yaml").exists()

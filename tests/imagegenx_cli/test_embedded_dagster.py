"""Runs whose process is gone, on a real instance."""

import json
import socket
import subprocess
import sys

import dagster as dg
import pytest

from imagegenx_cli.embedded_dagster import PROCESS_TAG, code_server_folder, end_dead_runs, this_process

TELL = "from imagegenx_cli.embedded_dagster import this_process; print(*this_process().values())"


@dg.job
def nothing():
    """A job without steps."""


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
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

"""The whole stack, with serving runs, Redis, gateway and store going away while requests keep coming."""

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from benchmarks.serving_stack import prepared_stack
from benchmarks.soak import LIMITS, endure
from configs.settings import PACKAGE_ROOT
from tests.support.random_model import write_random_model

REQUESTS, KILLS = 40, 4  # so that each thing goes away once


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    settings = write_random_model(tmp_path_factory.mktemp("model"))
    fast = {"IMAGEGENX_SERVING__IDLE_EXIT_S": "600", "IMAGEGENX_SERVING__REPORT_EVERY_S": "1"}
    place = {"location": "tests.support.painting_location", "PYTHONPATH": str(PACKAGE_ROOT)}
    with prepared_stack(**place, **settings, **fast) as (stack, receiver):
        yield stack, receiver


@pytest.mark.timeout(900)
def test_nothing_is_lost_or_doubled_while_everything_is_killed(stack):
    running, receiver = stack

    figures = endure(running, receiver, requests=REQUESTS, kills=KILLS)

    assert {name: figures[name] for name in LIMITS if name in figures} == {
        name: 0 for name in LIMITS if name in figures
    }
    assert figures["successes"] == REQUESTS


@pytest.mark.timeout(300)
def test_killed_serving_runs_show_as_failed_with_the_reason(stack):
    running, _ = stack
    with DagsterInstance.from_config(str(running.home / "dagster")) as instance:
        runs = [run for run in instance.get_runs() if run.status is DagsterRunStatus.FAILURE]
        reasons = [event.message for run in runs for event in instance.all_logs(run.run_id) if event.is_dagster_event]

    assert len(runs) == KILLS
    assert sum("was terminated by signal 9 (SIGKILL)" in reason for reason in reasons) == KILLS, reasons

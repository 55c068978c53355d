"""What Dagster's processes log of outages, their own or of a process that they have asked, and of faults."""

import logging
import sys

import pytest
import sqlalchemy
from dagster._core.errors import (
    DagsterUserCodeProcessError,
    DagsterUserCodeUnreachableError,
    SensorExecutionError,
    user_code_error_boundary,
)
from dagster._grpc.client import DagsterGrpcClient
from dagster._utils.error import serializable_error_info_from_exc_info
from sqlalchemy.exc import OperationalError

import resources.outage_lines  # noqa: F401 what is tested
from resources.object_store import StoreUnavailableError

logger = logging.getLogger("dagster.daemon.tested")


def fail_in_the_code_server():
    try:
        with user_code_error_boundary(SensorExecutionError, lambda: "Error in a sensor"):
            raise StoreUnavailableError("The store is away.\nStart it.")
    except SensorExecutionError:
        told = serializable_error_info_from_exc_info(sys.exc_info())
    raise DagsterUserCodeProcessError.from_error_info(told)


def ask_a_code_server_that_is_away():
    DagsterGrpcClient(port=1, host="127.0.0.1").ping("anybody")


def ask_a_database_that_is_away():
    sqlalchemy.create_engine("sqlite:////nowhere/at/all.db").connect()


@pytest.mark.parametrize(
    ("fail", "kind", "said"),
    [
        (fail_in_the_code_server, DagsterUserCodeProcessError, "The store is away."),
        (ask_a_code_server_that_is_away, DagsterUserCodeUnreachableError, "Could not reach user code server. gRPC"),
        (ask_a_database_that_is_away, OperationalError, "(sqlite3.OperationalError) unable to open database file"),
    ],
)
def test_an_outage_is_one_line(caplog, fail, kind, said):
    with pytest.raises(kind) as failed:
        fail()
    error = (failed.type, failed.value, failed.tb)
    logger.error("A look of %s failed", "a sensor", exc_info=error)
    logger.error("Failed: %s", serializable_error_info_from_exc_info(error))

    look, other = (record.getMessage() for record in caplog.records)
    assert look.startswith(f"A look of a sensor failed: {said}")
    assert other.startswith(f"Failed: {said}")
    assert "\n" not in look + other
    assert "Traceback" not in caplog.text


def test_a_fault_keeps_its_traceback(caplog):
    try:
        raise KeyError("a fault")
    except KeyError:
        logger.exception("A look of %s failed", "a sensor")

    assert "A look of a sensor failed" in caplog.text
    assert "in test_a_fault_keeps_its_traceback" in caplog.text

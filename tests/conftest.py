"""What every test shares."""

import gc
import logging
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import resources.alembic_paths  # noqa: F401 ephemeral instances below a folder with a % in its name
from foundation.process_start import accept_signals
from resources.s3_store import S3ObjectStore
from tests.support import dagster_instances
from tests.support.postgres_server import PostgresServer, running_postgres
from tests.support.s3_server import S3Server, running_s3_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# What tests start inherits the signals of this process, which a background shell or `nohup` has ignored.
accept_signals()

# Loading all tests makes millions of objects and no garbage.
gc.disable()

# Examples are the same in every run, and a busy machine fails none: speed is for the benchmarks.
settings.register_profile("imagegenx", deadline=None, derandomize=True)
settings.load_profile("imagegenx")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector never looks through it again, which takes a second a time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_log_lines_of_earlier_runs() -> Iterator[None]:
    """A Dagster run in this process has its log lines written to standard error; that ends with its test.

    Else the threads of later tests write theirs in the moments in which pytest captures nothing.
    """
    yield
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler).__module__ == "foundation.logs"]:
        root.removeHandler(handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A real S3 server for everybody, with its bucket: use another one, or a prefix of your own."""
    with running_s3_server() as server:
        S3ObjectStore(server.settings()).check()
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server for everybody: use a database of your own, and leave it running."""
    with running_postgres() as server:
        yield server


@pytest.fixture(autouse=True)
def _instances_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the product makes a new instance in this process, Dagster's databases are copied, not made."""
    dagster_instances.patch(monkeypatch)


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A real browser; a page of it is the test's own."""
    from tests.support.browser import running_browser

    with running_browser() as launched:
        yield launched


@pytest.fixture
def hung_up_on() -> Iterator[None]:
    """What is started takes SIGHUP, even if the tests run under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)

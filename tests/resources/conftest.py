"""Fixtures of the object store tests: an empty store of each kind."""

import uuid
from collections.abc import Generator
from pathlib import Path

import pytest

from resources.local_store import LocalObjectStore
from resources.object_store import ObjectStore
from resources.s3_store import S3ObjectStore
from tests.support.s3_server import S3Server


@pytest.fixture
def s3_store(s3_server: S3Server) -> S3ObjectStore:
    """An empty store on the server: a folder of the bucket that no other test uses."""
    return S3ObjectStore(s3_server.settings(prefix=f"tests/{uuid.uuid4().hex}"))


@pytest.fixture
def local_store(tmp_path: Path) -> LocalObjectStore:
    """An empty store in a folder."""
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each implementation in turn."""
    store: ObjectStore = request.getfixturevalue(f"{request.param}_store")
    return store


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the S3 server's log with a failure of a test that used it."""
    report = yield
    server = getattr(item, "funcargs", {}).get("s3_server")
    if report.failed and isinstance(server, S3Server):
        report.sections.append(("S3 server log", server.log.read_text(errors="replace")[-5000:]))
    return report

"""Dagster's daemon as `dev` and `compose.yaml` start it: how it ends, and that there is one of an instance."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from configs.settings import PACKAGE_ROOT
from imagegenx_cli.dev import daemon_command, write_workspace
from tests.support.dagster_daemon import open_instance
from tests.support.postgres_server import running_postgres
from tests.support.waiting import wait_until

WAITS = "Another daemon works for this Dagster instance; this one waits until it ends."


class Daemons:
    """Daemons of one instance, and what each says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workspace = write_workspace(folder)[1]  # of a code server that is not there
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> int:
        """Start one more; returns its number."""
        number = len(self.started)
        with (self.folder / f"daemon-{number}.log").open("wb") as log:
            self.started.append(subprocess.Popen(daemon_command(self.workspace), stdout=log, stderr=log))
        return number

    def said(self, number: int) -> str:
        return (self.folder / f"daemon-{number}.log").read_text()

    def works(self, number: int) -> bool:
        """Whether it has begun: its threads have told of themselves."""
        assert self.started[number].poll() is None, self.said(number)
        return psutil.Process(self.started[number].pid).num_threads() > 5

    def end(self, number: int, how: int) -> int:
        self.started[number].send_signal(how)
        return self.started[number].wait(60)


@pytest.fixture(params=["files", "postgresql"])
def daemons(request, tmp_path: Path, monkeypatch) -> Iterator[Daemons]:
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with instance_in(request.param, tmp_path, monkeypatch):
        daemons = Daemons(tmp_path)
        yield daemons
        for process in daemons.started:
            process.kill()
            process.wait()


@contextmanager
def instance_in(kind: str, folder: Path, monkeypatch) -> Iterator[None]:
    if kind == "files":
        shutil.copyfile(PACKAGE_ROOT / "configs/dagster.yaml", folder / "dagster.yaml")
        open_instance(folder).dispose()
        yield
        return
    text = (PACKAGE_ROOT / "deploy/dagster.yaml").read_text()
    without_logs = text[: text.index("# What runs print.")] + text[text.index("# What steps hand to each other") :]
    (folder / "dagster.yaml").write_text(without_logs)
    with running_postgres() as server:
        url = server.new_database().replace("postgresql:", "postgresql+psycopg2:")
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        open_instance(folder).dispose()
        yield


@pytest.mark.usefixtures("hung_up_on")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_daemon_ends_in_order(daemons, how):
    daemons.start()
    wait_until(lambda: daemons.works(0), 60)
    started = psutil.Process(daemons.started[0].pid).children(recursive=True)

    assert daemons.end(0, how) == 0
    assert [child for child in started if child.is_running()] == []
    assert "Traceback" not in daemons.said(0)


def test_a_second_daemon_waits_for_the_end_of_the_first_even_if_that_is_killed(daemons):
    daemons.start()
    wait_until(lambda: daemons.works(0), 60)
    daemons.start()
    wait_until(lambda: WAITS in daemons.said(1), 60)
    time.sleep(3)
    assert not daemons.works(1)
    assert daemons.said(1).count(WAITS) == 1

    daemons.end(0, signal.SIGKILL)

    wait_until(lambda: daemons.works(1), 60)
    assert daemons.end(1, signal.SIGTERM) == 0
    assert WAITS not in daemons.said(0)


def test_a_daemon_that_waits_ends_when_it_is_told_to(daemons):
    daemons.start()
    wait_until(lambda: daemons.works(0), 60)
    daemons.start()
    wait_until(lambda: WAITS in daemons.said(1), 60)

    assert daemons.end(1, signal.SIGTERM) == 0
    assert daemons.works(0)

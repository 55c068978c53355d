"""The S3 server that other tests rely on: its failures are loud, and it leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.s3_server import S3ServerError, running_s3_server

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def wait_until_gone(endpoint: str, folder: Path) -> None:
    host, port = endpoint.split(":")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            if not folder.exists():
                return
        time.sleep(0.05)
    raise AssertionError(f"{endpoint} still answers, or {folder} still exists")


def kill(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def test_a_server_that_cannot_start_is_an_error_with_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.s3_server.PROXY_FILTERS", ("catch_errors", "s3api"))
    with (
        pytest.raises(S3ServerError, match=r"did not start within 60 s:\n(.|\n)*ValueError: Invalid pipeline"),
        running_s3_server(),
    ):
        raise AssertionError("unreachable")


def test_a_server_that_ends_by_itself_fails_who_used_it() -> None:
    with pytest.raises(S3ServerError, match=r"ended by itself \(-9\)"), running_s3_server() as server:
        kill(server.pid)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_by_hand_it_prints_settings_and_ends_with_its_process(ending: signal.Signals) -> None:
    command = [sys.executable, "-m", "tests.support.s3_server"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline().strip() for _ in range(9)]
        variables = dict(line.removeprefix("export ").split("=", 1) for line in lines[2:])
        endpoint = variables["IMAGEGENX_STORE__ENDPOINT"]
        folder = Path(lines[1].removeprefix("# Its files: "))
        assert folder.is_dir()
        socket.create_connection(("127.0.0.1", int(endpoint.split(":")[1])), timeout=5).close()
        process.send_signal(ending)
        assert process.wait(60) == (-9 if ending == signal.SIGKILL else 0)
    wait_until_gone(endpoint, folder)

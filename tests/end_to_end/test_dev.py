"""`imagegenx dev`: the whole stack of one machine, started and ended."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.random_model import write_random_model

TOOL = Path(sys.executable).with_name("imagegenx")
DEADLINE_S = 180


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Dev:
    """`imagegenx dev` on a home folder of its own."""

    def __init__(self, folder):
        self.home = folder / "home"
        self.ports = {name: free_port() for name in ("http", "grpc", "ui")}
        self.environment = os.environ | write_random_model(folder) | {"IMAGEGENX_HOME": str(self.home)}
        self.output = folder / "output.txt"

    def start(self):
        options = [text for name, port in self.ports.items() for text in (f"--{name}-port", str(port))]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [TOOL, "dev", *options], env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.wait(lambda: "Ctrl-C" in self.text())
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def text(self):
        return self.output.read_text(encoding="utf-8")

    def wait(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    def call(self, path, key, body=None):
        url = f"http://127.0.0.1:{self.ports['http']}{path}"
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["data"]

    def leftovers(self):
        """Processes that this stack started, or that work on its home folder."""
        alive = [child for child in self.children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        on_home = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(self.home) in " ".join(process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE
        ]
        return [process.pid for process in {*alive, *on_home}]

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def part(self, word):
        """The process of one part."""
        return next(child for child in self.children if word in " ".join(child.cmdline()))


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    dev = Dev(tmp_path_factory.mktemp("dev"))
    yield dev
    if dev.process.poll() is None:
        dev.process.kill()


@pytest.mark.timeout(600)
def test_one_command_serves_a_picture_and_ctrl_c_leaves_no_process(dev):
    dev.start()
    key = re.search(r"API key of user local, shown this once: (\S+)", dev.text())[1]
    for name in ("http", "ui"):
        assert f"http://127.0.0.1:{dev.ports[name]}" in dev.text()

    task_id = dev.call("/api/v1/image/generate", key, {"text": "a red mug"})["task_id"]
    dev.wait(lambda: dev.call(f"/api/v1/image/task/{task_id}", key)["status"] in ("success", "failed"))

    assert dev.call(f"/api/v1/image/task/{task_id}", key)["status"] == "success"
    dev.children = psutil.Process(dev.process.pid).children(recursive=True)
    assert dev.end(signal.SIGINT) == 0
    assert dev.text().endswith("Ended.\n")
    assert dev.leftovers() == []


@pytest.mark.timeout(600)
def test_if_one_part_dies_everything_ends_with_its_name_and_there_is_one_first_key_only(dev):
    dev.start()
    assert "shown this once" not in dev.text()

    dev.part("dagster_webserver").kill()

    assert dev.process.wait(DEADLINE_S) == 1
    assert "error: web server ended with signal SIGKILL, so everything ends." in dev.text()
    assert dev.leftovers() == []


@pytest.mark.timeout(600)
def test_sigterm_ends_everything_and_a_second_stack_on_the_same_data_is_refused(dev):
    dev.start()
    dev.environment |= {"PYTHONWARNINGS": "ignore"}
    second = subprocess.run(
        [TOOL, "dev", "--http-port", str(free_port()), "--grpc-port", str(free_port()), "--ui-port", str(free_port())],
        env=dev.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    occupied = subprocess.run(
        [TOOL, "dev", "--http-port", str(dev.ports["http"])],
        env=dev.environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )

    assert dev.end(signal.SIGTERM) == 0
    assert dev.leftovers() == []
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: `imagegenx dev` runs already on the data in {dev.home}.")
    assert occupied.returncode == 1
    assert occupied.stderr.startswith(f"error: --http-port {dev.ports['http']}: 127.0.0.1:")

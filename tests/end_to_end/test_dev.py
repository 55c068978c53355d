"""`imagegenx dev`: the whole stack of one machine, started and ended."""

import io
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

import grpc
import psutil
import pytest
from openai import OpenAI
from PIL import Image, ImageChops
from playwright.sync_api import expect

from gateway.stubs import imagegenx_pb2 as pb2
from imagegenx_cli.processes import is_alive
from tests.support.random_model import CARD, write_random_model
from tests.support.scheduler_stub import SchedulerServiceStub

TOOL = Path(sys.executable).with_name("imagegenx")
DEADLINE_S = 180


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


STRAY = ("resources", "models", "gql", "logging", "gateway")
"""Modules that somebody may have in the folder in which the stack is started."""


def ignore_ctrl_c():
    """As background shells and `nohup` do to what they start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under `nohup`
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


class Dev:
    """`imagegenx dev` on a home folder of its own, started as badly as can be."""

    def __init__(self, folder):
        self.home = folder / "home"
        self.ports = {name: free_port() for name in ("http", "grpc", "ui")}
        self.environment = os.environ | write_random_model(folder) | {"IMAGEGENX_HOME": str(self.home)}
        (folder / "large.yaml").write_text(CARD.replace("max_side_px: 256", "max_side_px: 512"), encoding="utf-8")
        self.output = folder / "output.txt"
        self.working_folder = folder / "elsewhere"
        self.working_folder.mkdir()
        for name in STRAY:
            (self.working_folder / f"{name}.py").write_text("raise SystemExit('a stray module was taken')")

    def begin(self):
        options = [text for name, port in self.ports.items() for text in (f"--{name}-port", str(port))]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [TOOL, "dev", *options],
                env=self.environment,
                cwd=self.working_folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=ignore_ctrl_c,
            )

    def start(self):
        self.begin()
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

    @property
    def url(self):
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def key(self):
        return re.search(r"API key of user local, shown this once: (\S+)", self.text())[1]

    def call(self, path, body=None):
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def made(self, **request):
        """The picture that a request ends in."""
        task = self.call("/api/v1/image/generate", request)
        self.wait(lambda: self.call(task["query_url"])["status"] in ("success", "failed"))
        ended = self.call(task["query_url"])
        assert ended["status"] == "success", ended
        return downloaded(ended["result"]["original_url"])

    def leftovers(self):
        """What this stack started, or what works on its home folder, and has not ended a minute after it."""
        deadline = time.monotonic() + 60
        while (found := self._alive()) and time.monotonic() < deadline:  # the private Redis sees a little later
            time.sleep(0.2)
        return found

    def _alive(self):
        on_home = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(self.home) in " ".join(process.info["cmdline"] or [])
        ]
        return [process for process in {*self.children, *on_home} if is_alive(process)]

    def end(self, number):
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def part(self, word):
        """The process of one part."""
        return next(child for child in self.children if word in " ".join(child.cmdline()))


def downloaded(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return Image.open(io.BytesIO(answer.read()))


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    dev = Dev(tmp_path_factory.mktemp("dev"))
    dev.start()
    yield dev
    if dev.process.poll() is None:
        dev.process.kill()
        dev.process.wait()


@pytest.mark.timeout(600)
def test_one_command_serves_a_picture(dev):
    for name in ("http", "ui"):
        assert f"http://127.0.0.1:{dev.ports[name]}" in dev.text()
    for part in ("api grpc", "-m gateway"):  # whose pages link to each other
        environment = dev.part(part).environ()
        assert environment["IMAGEGENX_GATEWAY__HTTP_PORT"] == str(dev.ports["http"])
        assert environment["IMAGEGENX_ALERTS__UI_URL"] == f"http://127.0.0.1:{dev.ports['ui']}"
    assert dev.made(text="a red mug").size == (64, 64)


@pytest.mark.timeout(600)
def test_the_official_openai_client_makes_a_picture(dev):
    with OpenAI(base_url=f"{dev.url}/v1", api_key=dev.key, timeout=DEADLINE_S) as official:
        answer = official.images.generate(prompt="a red mug", model="tiny", size="128x128", extra_body={"steps": 4})

    picture = downloaded(answer.data[0].url)
    assert picture.size == (128, 128)
    assert len(picture.convert("RGB").getcolors(128 * 128)) > 100


@pytest.mark.timeout(600)
def test_grpc_submits_and_asks_until_the_picture_and_its_thumbnail_download(dev):
    with grpc.insecure_channel(f"127.0.0.1:{dev.ports['grpc']}") as channel:
        stub = SchedulerServiceStub(channel)
        params = pb2.TaskParams(resolution="128×64", steps=2)
        request = pb2.SubmitTaskRequest(task_id="order-17", api_key=dev.key, text="a teal mug", params=params)
        assert stub.SubmitTask(request).code == 200

        def status():
            return stub.QueryTask(pb2.QueryTaskRequest(task_id="order-17", api_key=dev.key)).status

        dev.wait(lambda: status().status in ("success", "failed"))
        task = status()

    assert (task.status, task.progress) == ("success", 100)
    assert [downloaded(url).size for url in (task.original_url, task.thumb_url)] == [(128, 64)] * 2


@pytest.mark.timeout(600)
def test_a_batch_of_twenty_ends_in_twenty_pictures(dev):
    texts = [f"mug {number}" for number in range(20)]
    batch = dev.call("/api/v1/image/batch-generate", {"texts": texts, "params": {"steps": 2}})
    dev.wait(lambda: dev.call(batch["query_url"])["progress"] == 100)

    ended = dev.call(batch["query_url"])
    assert (ended["success_count"], ended["failed_count"]) == (20, 0)
    assert {downloaded(task["result"]["original_url"]).size for task in ended["tasks"]} == {(64, 64)}


@pytest.mark.timeout(600)
def test_a_doubled_picture_of_512_px_has_1024_and_shows_the_mark(dev):
    mark = {"enable": True, "text": "春 mug", "color": "#ffffff", "position": "bottom-right", "transparency": 1.0}
    params = {"resolution": "512×512", "steps": 1, "seed": 7}
    finish = {"super_resolution": "2x", "format": "png"}

    def made(**more):
        return dev.made(text="a mug", model_type="large", params={**params, "post_process": {**finish, **more}})

    plain, marked = made(), made(watermark=mark)

    assert plain.size == marked.size == (1024, 1024)
    changed = ImageChops.difference(plain.convert("RGB"), marked.convert("RGB")).convert("L")
    shown = changed.point(lambda level: 255 * (level > 32))
    left, top, *_ = shown.getbbox()
    assert left > 512
    assert top > 768
    assert shown.histogram()[255] > 500


@pytest.mark.timeout(600)
def test_a_person_makes_a_picture_on_the_page(dev, page):
    page.goto(re.search(r"Pictures: (\S+)", dev.text())[1])
    page.wait_for_selector("html[data-ready]")
    page.locator("#model").select_option("tiny")
    page.locator("#more summary").click()
    page.locator("#steps").fill("4")
    page.locator("#text").fill("a yellow mug")
    page.locator("#make").click()

    picture = page.locator(".card").filter(has_text="a yellow mug").locator(".open img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128


@pytest.mark.timeout(600)
def test_a_second_stack_on_the_same_data_or_port_is_refused(dev):
    def refused(*options):
        command = [TOOL, "dev", *options]
        done = subprocess.run(command, env=dev.environment, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 1
        return done.stderr

    free = [word for name in dev.ports for word in (f"--{name}-port", str(free_port()))]
    assert refused(*free).startswith(f"error: `imagegenx dev` runs already on the data in {dev.home}.")
    occupied = dev.ports["http"]
    assert refused("--http-port", str(occupied)).startswith(f"error: --http-port {occupied}: 127.0.0.1:")


@pytest.mark.timeout(600)
def test_ctrl_c_leaves_no_process(dev):
    dev.children = psutil.Process(dev.process.pid).children(recursive=True)
    assert dev.end(signal.SIGINT) == 0
    assert dev.text().endswith("Ended.\n")
    assert dev.leftovers() == []


@pytest.mark.timeout(600)
def test_if_one_part_dies_everything_ends_with_its_name_and_there_is_one_first_key_only(dev):
    dev.start()
    assert "shown this once" not in dev.text()

    dev.part("imagegenx_cli.web_server").kill()

    assert dev.process.wait(DEADLINE_S) == 1
    assert "error: web server ended with signal SIGKILL, so everything ends." in dev.text()
    assert dev.leftovers() == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["a signal", "a terminal that is closed"])
def test_what_has_started_ends_even_while_the_rest_starts(dev, number):
    dev.begin()
    dev.wait(lambda: len(psutil.Process(dev.process.pid).children()) > 1)
    dev.children = psutil.Process(dev.process.pid).children(recursive=True)

    assert dev.end(number) == 0
    assert dev.leftovers() == []

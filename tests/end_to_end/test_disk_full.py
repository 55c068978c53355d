"""A disk that is full while pictures are written: on this machine, and an S3 service's."""

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from benchmarks.stand_in import write_stand_in_model
from configs.settings import load_settings
from gateway.main import open_service
from tests.support import stand_in_worker
from tests.support.forked import Forked
from tests.support.painter import encoded
from tests.support.redis_server import running_redis
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.s3_server import running_s3_server
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
MUG = {"text": "a mug", "params": {"resolution": "256x256", "post_process": {"format": "png"}}}
CHANGED = {"text": "a mug", "model_type": "tiny", "params": {"resolution": "128x128"}}
UPLOAD = encoded(Image.effect_noise((256, 256), 90), "png")


@dataclass
class Place:
    """A gateway, its worker and the disk of its store."""

    gateway: RunningGateway
    worker: Forked
    disk: SmallDisk
    key: str

    def call(self, method: str, path: str, **given: object) -> httpx.Response:
        url = path if path.startswith("http") else self.gateway.url + path
        headers = {"X-API-Key": self.key}
        return httpx.request(method, url, headers=headers, timeout=120, follow_redirects=True, **given)

    def submit(self) -> str:
        return self.call("POST", GENERATE, json=MUG).json()["data"]["query_url"]

    def state(self, path: str) -> dict:
        return self.call("GET", path).json()["data"]

    def ended(self, path: str) -> str:
        wait_until(lambda: self.state(path)["status"] in ("success", "failed"))
        return self.state(path)["status"]

    def health(self) -> str:
        return httpx.get(f"{self.gateway.url}/health", timeout=120).json()["data"]["status"]

    def keys(self) -> set[str]:
        return {one.key for one in self.gateway.service.store.list() if not one.key.startswith("usage/")}


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path: Path, monkeypatch) -> Iterator[Place]:
    patience_s = getattr(request.function, "patience_s", 600)
    chosen = {**write_stand_in_model(tmp_path / "models"), "IMAGEGENX_SERVING__OUTAGE_PATIENCE_S": str(patience_s)}
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path))
        chosen |= {"IMAGEGENX_HOME": str(tmp_path / "home"), "IMAGEGENX_QUEUE__URL": redis.url}
        if request.param == "s3":
            server = stack.enter_context(running_s3_server())
            disk = stack.enter_context(small_disk(server.log.parent / "devices/disk", 4 << 20))
            chosen |= server.environment()
        else:
            disk = stack.enter_context(small_disk(tmp_path / "disk", 1 << 20))
            chosen["IMAGEGENX_STORE__PATH"] = str(disk.folder / "store")
        for name, value in (chosen | {"IMAGEGENX_GATEWAY__HTTP_PORT": "8123"}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("gateway.health.STORE_FRESH_S", 0.1)
        service = open_service(load_settings())
        stack.callback(service.queue.close)
        service.store.check()
        gateway = stack.enter_context(running_gateway(service))
        worker = Forked(stand_in_worker.main)
        stack.callback(worker.wait)
        stack.callback(worker.kill)
        yield Place(gateway, worker, disk, service.accounts.create("ada"))


def test_a_picture_waits_for_room_and_is_whole_once_there_is_some(place: Place) -> None:
    before = place.submit()
    wait_until(lambda: place.state(before)["status"] == "success")
    stored = place.keys()
    place.disk.fill()
    wait_until(lambda: place.health() == "degraded")

    path = place.submit()
    wait_until(lambda: place.state(path)["progress"] > 0 or place.state(path)["status"] == "processing")
    form = {"data": {"request": json.dumps(CHANGED)}, "files": {"image": ("a.png", UPLOAD)}}
    refused = place.call("POST", GENERATE, **form)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True), refused.text
    assert place.keys() == stored, "nothing, and no half of anything"
    assert place.state(path)["status"] == "processing"
    kept = place.call("GET", place.state(before)["result"]["original_url"])
    assert kept.status_code == 200, "what was stored is served"

    place.disk.make_room()
    wait_until(lambda: place.state(path)["status"] == "success")
    picture = place.call("GET", place.state(path)["result"]["original_url"])
    assert len(picture.content) == place.state(path)["result"]["size"]
    Image.open(io.BytesIO(picture.content)).load()
    wait_until(lambda: place.health() == "healthy")
    assert place.worker.poll() is None


def test_a_picture_for_which_no_room_comes_fails_with_the_reason(place: Place) -> None:
    stored = place.keys()
    place.disk.fill()
    path = place.submit()
    wait_until(lambda: place.state(path)["status"] == "failed")
    failed = place.state(path)
    assert failed["error_code"] == "store"
    assert "\n" not in failed["error_msg"]
    assert place.keys() == stored

    place.disk.make_room()
    ended = []
    wait_until(lambda: "success" in ended or ended.append(place.ended(place.submit())))
    assert place.worker.poll() is None


test_a_picture_for_which_no_room_comes_fails_with_the_reason.patience_s = 1

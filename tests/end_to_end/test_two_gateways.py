"""Two gateways over one Redis and store, one of them killed under its clients, who go on at the other."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from PIL import Image

from configs.settings import Settings
from gateway.main import open_service
from gateway.service import GatewayService
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.painter import Painter, encoded
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

GENERATE, BATCH = "/api/v1/image/generate", "/api/v1/image/batch-generate"
PARAMS = {"params": {"resolution": "96×96"}}
PICTURE = encoded(Image.new("RGB", (64, 48), "teal"), "jpg")
SECRET = "0123456789abcdef" * 4
FEW = 3
"""Of each kind of client."""


class Clients:
    """What a user's programs do: whatever breaks off is sent again, with its key, to the gateway that is left."""

    def __init__(self, key: str, first: str, second: str) -> None:
        self._key, self._urls = {"X-API-Key": key}, [first, second]
        self.tasks: dict[str, set[str]] = {}
        """The tasks that each call was answered with, however often it was sent."""
        self.broken_off: Counter[str] = Counter()

    def send(self, path: str, once: str, prefer: str = "", **given: object) -> dict:
        headers = {**self._key, "Idempotency-Key": once, "Prefer": prefer}
        for url in self._urls:
            try:
                answer = httpx.post(url + path, headers=headers, timeout=200, **given)
            except httpx.TransportError:
                self.broken_off[path if "files" not in given else "upload"] += 1
                continue
            assert answer.status_code == 200, answer.text
            data = answer.json()["data"]
            self.tasks.setdefault(once, set()).update(data.get("task_ids", [data.get("task_id")]))
            return data
        raise AssertionError("no gateway is left")

    def get(self, path: str) -> dict:
        return httpx.get(self._urls[1] + path, headers=self._key, timeout=60).json()["data"]

    def follow(self, path: str, begun: Callable[[], object]) -> list[dict]:
        """All events of a task, from one gateway and then the other."""
        told, last = [], ""
        for url in self._urls:
            headers = {**self._key, **({"Last-Event-ID": last} if last else {})}
            try:
                with httpx.stream("GET", f"{url}{path}/events", headers=headers, timeout=200) as events:
                    for line in events.iter_lines():
                        name, _, value = line.partition(": ")
                        last = value if name == "id" else last
                        if name == "data":
                            told.append(json.loads(value))
                            begun()
            except httpx.TransportError:
                self.broken_off["events"] += 1
        return told


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[GatewayService]:
    with running_redis(tmp_path) as redis:
        given = {"home": tmp_path / "beside", "queue": {"url": redis.url}, "store": {"path": tmp_path / "store"}}
        service = open_service(Settings.model_validate(given))
        service.store.check()
        yield service
        service.queue.close()


def new_gateway(stack: ExitStack, beside: GatewayService, name: str) -> GatewayProcess:
    """One on a machine of its own: it has nothing in common with the others but what the operator gave it."""
    settings = beside.settings
    shared = {"QUEUE__URL": settings.queue.url.get_secret_value(), "STORE__PATH": settings.store.path}
    home = settings.home.with_name(name)
    return stack.enter_context(gateway_process(home, GATEWAY__URL_SECRET=SECRET, **shared))


def test_clients_of_a_killed_gateway_get_everything_once_from_the_other(beside) -> None:
    key = beside.accounts.create("ada", qps=10_000)
    with ExitStack() as stack:
        first, second = (new_gateway(stack, beside, name) for name in ("one", "two"))
        clients = Clients(key, first.url, second.url)
        killed, answered, followed = threading.Event(), Counter(), Counter()

        def keep_sending(name: str, path: str, form: Callable[[str], dict]) -> None:
            """Until some calls after the kill, so that calls are under way when it comes."""
            number = after = 0
            while after < 2:
                number, after = number + 1, after + killed.is_set()
                once = f"{name}-{number}"
                clients.send(path, once, **form(once))
                answered[name] += 1
                killed.wait(0.02)

        def batch(once: str) -> dict:
            return {"json": {"texts": [f"{once}, {n}" for n in range(3)], **PARAMS}}

        def upload(once: str) -> dict:
            request = json.dumps({"text": once, **PARAMS})
            return {"data": {"request": request}, "files": {"image": ("a.jpg", PICTURE)}}

        def wait(once: str) -> dict:
            return clients.send(GENERATE, once, prefer="wait=100", json={"text": once, **PARAMS})

        def follow(once: str) -> list[dict]:
            path = clients.send(GENERATE, once, json={"text": once, **PARAMS})["query_url"]
            return clients.follow(path, lambda: followed.update([once]))

        threads = stack.enter_context(ThreadPoolExecutor(4 * FEW))
        stack.callback(killed.set)
        waiters = [threads.submit(wait, f"wait-{n}") for n in range(FEW)]
        followers = [threads.submit(follow, f"follow-{n}") for n in range(FEW)]
        senders = [threads.submit(keep_sending, f"batch-{n}", BATCH, batch) for n in range(FEW)]
        senders += [threads.submit(keep_sending, f"upload-{n}", GENERATE, upload) for n in range(FEW)]
        wait_until(lambda: len(followed) == FEW and len(answered) == 2 * FEW and min(answered.values()) > 2)
        wait_until(
            lambda: len({task.request["text"] for task in owned(beside)} & {f"wait-{n}" for n in range(FEW)}) == FEW
        )

        first.process.kill()
        killed.set()

        for sender in senders:
            sender.result()
        with Painter(beside.queue, beside.store):
            waited = [waiter.result() for waiter in waiters]
            told = [follower.result() for follower in followers]
            wait_until(lambda: all(task.status.ended for task in owned(beside)), 240)
        assert [one["status"] for one in waited] == ["success"] * FEW
        assert all(httpx.get(one["result"]["original_url"]).status_code == 200 for one in waited)
        assert [(events[0]["status"], events[-1]["status"]) for events in told] == [("waiting", "success")] * FEW
        assert {"events", GENERATE} <= clients.broken_off.keys()
        made = {task for ids in clients.tasks.values() for task in ids}
        assert {task.name for task in owned(beside)} == made, "what was not answered was not made"
        assert all(len(ids) == (3 if once.startswith("batch") else 1) for once, ids in clients.tasks.items())
        pictures = [one.key for one in beside.store.list() if one.key.startswith("20")]
        assert len(pictures) == len(made)
        assert clients.get("/api/v1/usage")["day"]["pictures"] == len(made)


def owned(service: GatewayService) -> list:
    return service.queue.owned("ada", limit=10_000)

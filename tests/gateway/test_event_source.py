"""A browser's `EventSource` goes on to the end of its task, whatever is away meanwhile, and gives up where none is."""

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page

from configs.settings import Settings
from gateway.main import open_service
from tests.support.painter import Painter
from tests.support.redis_server import running_redis
from tests.support.running_gateway import running_gateway
from tests.support.waiting import wait_until

FOLLOW = """(url) => {
    window.told = 0;
    window.end = new Promise((resolve) => {
        const events = new EventSource(url);
        events.onerror = () => { if (events.readyState === EventSource.CLOSED) resolve("given up"); };
        events.addEventListener("task", ({data}) => {
            const {status, ended_at: ended} = JSON.parse(data);
            window.told += 1;
            if (ended) { events.close(); resolve(status); }
        });
    });
}"""

END = "Promise.race([window.end, new Promise((resolve) => setTimeout(resolve, 120000, 'silent'))])"


@pytest.fixture
def page(browser: Browser):
    with closing(browser.new_page()) as page:
        yield page


def follow(page: Page, gateway_url: str, url: str) -> None:
    page.goto(f"{gateway_url}/docs")
    page.evaluate(FOLLOW, url)


def test_it_outlives_a_restart_of_the_gateway_and_an_outage_of_redis(page, tmp_path: Path) -> None:
    with running_redis(tmp_path) as redis:
        settings = Settings.model_validate({"home": tmp_path / "home", "queue": {"url": redis.url}})
        before, after = open_service(settings), open_service(settings)
        with running_gateway(before) as gateway:
            headers = {"X-API-Key": before.accounts.create("ann")}
            body = {"text": "a mug", "params": {"resolution": "96x96"}}
            task = httpx.post(f"{gateway.url}/api/v1/image/generate", json=body, headers=headers).json()["data"]
            state = httpx.get(gateway.url + task["query_url"], headers=headers).json()["data"]
            follow(page, gateway.url, state["events_url"])
            wait_until(lambda: page.evaluate("window.told"))
            redis.kill()
        with running_gateway(after, port=urlsplit(gateway.url).port or 0):
            wait_until(lambda: httpx.get(state["events_url"]).text.startswith("retry: 2000\n: The request queue"))
            redis.start()
            with Painter(after.queue, after.store):
                assert page.evaluate(END) == "success"
        for service in (before, after):
            service.queue.close()


def test_it_is_told_of_a_task_that_ended_before_it_came(page, client, gateway, painter) -> None:
    path = client.post("/api/v1/image/generate", json={"text": "a mug"}).json()["data"]["query_url"]
    wait_until(lambda: client.get(path).json()["data"]["ended_at"])
    follow(page, gateway.url, client.get(path).json()["data"]["events_url"])
    assert page.evaluate(END) == "success"


def test_it_gives_up_where_the_task_is_known_no_more(page, client, gateway, service) -> None:
    task = client.post("/api/v1/image/generate", json={"text": "a mug"}).json()["data"]
    follow(page, gateway.url, client.get(task["query_url"]).json()["data"]["events_url"])
    wait_until(lambda: page.evaluate("window.told"))
    service.queue._link.client.delete(f"{service.queue._link.prefix}task:{task['task_id']}")
    assert page.evaluate(END) == "given up"

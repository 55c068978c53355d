"""What applications need beside a task's result: times and places, events without a header, deletion, other origins."""

import httpx
import pytest

from gateway.main import open_service
from resources.object_store import ObjectNotFoundError
from tests.gateway.test_http_images import GENERATE, MUG, finished, state, submit
from tests.support.running_gateway import running_gateway


def test_a_waiting_task_says_where_it_is_and_an_ended_one_when_it_ended(client, service) -> None:
    tasks = [submit(client) for _ in range(3)]
    places = [state(client, task_id)["queue_position"] for task_id in tasks]
    assert [place - places[0] for place in places] == [0, 1, 2]
    waiting = state(client, tasks[0])
    assert (waiting["started_at"], waiting["ended_at"]) == (None, None)
    claims = service.queue.claim("worker", 100, block_s=5)
    (mine,) = [claim for claim in claims if claim.id == tasks[0]]
    service.queue.progress(mine, 50)
    painting = state(client, tasks[0])
    assert (painting["queue_position"], painting["status"]) == (0, "processing")
    assert painting["eta_s"] >= 0
    service.queue.fail(mine, "no such luck.")
    ended = state(client, tasks[0])
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert (ended["error_code"], "queue_position" in ended) == ("other", False)
    assert '"status":"failed"' in httpx.get(ended["events_url"]).text, "who asks late waits for no event"
    for claim in claims:
        service.queue.cancel(claim.id)
        service.queue.cancelled(claim)


def test_the_events_of_a_task_open_by_their_address_without_a_key(client, gateway, painter) -> None:
    task_id = submit(client, text="a slow mug")
    url = state(client, task_id)["events_url"]
    assert "success" in httpx.get(url, timeout=60).text
    other = state(client, submit(client, text="a slow lamp"))["events_url"]
    for wrong in (f"{url}x", url.partition("?token=")[0] + "?token=ff.x", other.replace(other[-5:], "AAAAA")):
        answer = httpx.get(wrong)
        assert (answer.status_code, answer.json()["code"]) == (403, 403), wrong
    swapped = url.partition("?")[0] + "?" + other.partition("?")[2]
    assert httpx.get(swapped).status_code == 403


def test_a_deleted_picture_is_gone_at_once_from_store_lists_and_links(client, stranger, service, painter) -> None:
    headers = {"Idempotency-Key": "once"}
    task_id = client.post(GENERATE, json=MUG, headers=headers).json()["data"]["task_id"]
    result = finished(client, task_id)["result"]
    (picture,) = service.queue.task(task_id).result.pictures
    assert stranger.delete(f"/api/v1/image/picture/{task_id}").status_code == 404
    assert client.delete(f"/api/v1/image/picture/{task_id}").json()["data"] == {"task_id": task_id}
    for key in (picture.original_key, picture.thumb_key):
        with pytest.raises(ObjectNotFoundError):
            service.store.get(key)
    assert client.get(f"/api/v1/image/task/{task_id}").status_code == 404
    assert httpx.get(result["original_url"]).status_code == 404
    assert task_id not in client.get("/api/v1/image/tasks").text
    assert client.delete(f"/api/v1/image/picture/{task_id}").status_code == 404
    assert client.post(GENERATE, json=MUG, headers=headers).json()["data"]["task_id"] != task_id


def test_a_task_that_goes_on_is_cancelled_before_it_is_deleted(client) -> None:
    task_id = submit(client, text="nobody paints this")
    answer = client.delete(f"/api/v1/image/picture/{task_id}")
    assert (answer.status_code, answer.json()["message"]) == (
        409,
        f"Task '{task_id}' is waiting. Cancel it first, and delete it once it has ended.",
    )
    client.delete(f"/api/v1/image/task/{task_id}")
    assert client.delete(f"/api/v1/image/picture/{task_id}").status_code == 200


def test_scripts_of_the_origins_that_were_named_may_call_and_of_no_other(settings) -> None:
    named = settings.gateway.model_copy(update={"cors_origins": ("https://shop.example",)})
    service = open_service(settings.model_copy(update={"gateway": named}))
    with running_gateway(service) as gateway:
        asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        allowed = httpx.options(f"{gateway.url}{GENERATE}", headers={"Origin": "https://shop.example", **asking})
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        assert httpx.options(f"{gateway.url}{GENERATE}", headers={"Origin": "https://evil.example", **asking}).is_error
        refused = httpx.get(f"{gateway.url}/api/v1/models", headers={"Origin": "https://shop.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://shop.example")
    service.queue.close()


def test_without_the_setting_no_origin_may_call(client) -> None:
    answer = client.get("/api/v1/models", headers={"Origin": "https://shop.example"})
    assert "access-control-allow-origin" not in answer.headers

"""Batches whose requests differ in more than their text; cancelling and following one."""

import base64
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.painter import encoded
from tests.support.waiting import wait_until

BATCH = "/api/v1/image/batch-generate"
SMALL = {"resolution": "96×96", "steps": 2}
PICTURE = f"data:image/png;base64,{base64.b64encode(encoded(Image.new('RGB', (64, 64), 'teal'), 'png')).decode()}"


def sent(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(BATCH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def events(stream: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """Ids and data of the events of a batch."""
    found, id = [], ""
    for line in stream.iter_lines():
        name, _, value = line.partition(": ")
        id = value if name == "id" else id
        if name == "data":
            found.append((id, json.loads(value)))
    return found


def test_each_item_has_its_own_parameters_inputs_and_metadata(client, service) -> None:
    data = sent(
        client,
        params=SMALL,
        metadata={"shop": "a", "page": "1"},
        items=[
            {"text": "a mug", "params": {"seed": 7}},
            {"text": "a cup", "params": {"resolution": "128×96", "seed": 8}, "metadata": {"page": "2"}},
            {"text": "a jug", "image_url": PICTURE, "params": {"strength": 0.4}},
        ],
    )
    assert data["total"] == 3
    tasks = client.get(data["query_url"]).json()["data"]["tasks"]
    assert [task["metadata"] for task in tasks] == [{"shop": "a", "page": page} for page in ("1", "2", "1")]
    asked = [service.queue.task(id).request for id in data["task_ids"]]
    assert [one["params"]["resolution"] for one in asked] == ["96×96", "128×96", "96×96"]
    assert [one["params"]["steps"] for one in asked] == [2, 2, 2]
    assert [one["params"]["seed"] for one in asked[:2]] == [7, 8]
    stored = [one["image_url"] for one in asked]
    assert stored[:2] == [None, None]
    assert service.store.get(stored[2].removeprefix("store:")) == base64.b64decode(PICTURE.partition(",")[2])


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        (
            {"items": [{"text": "a"}, {"text": "b", "params": {"steps": 0}}]},
            "items.1.params.steps",
            "below the minimum",
        ),
        ({"items": [{"text": "a"}], "params": {"steps": 0}}, "params.steps", "below the minimum"),
        (
            {"items": [{"text": "a", "params": {"seed": 1}}], "params": {"steps": 0}},
            "params.steps",
            "below the minimum",
        ),
        ({"items": [{"text": "a"}, {"text": " "}]}, "items.1.text", "blank"),
        ({"items": [{"text": "a", "image_url": "data:x"}]}, "items.0.image_url", "is no data URI of a picture"),
        (
            {"items": [{"text": "a", "callback_url": "https://a"}]},
            "items.0.callback_url",
            "for the whole batch",
        ),
        ({"items": ["a"]}, "items.0", "is not an object with fields"),
        ({"items": []}, "items", "0 items; a batch holds 1 to 20. Send more than one batch."),
        ({"items": [{"text": "a"}] * 21}, "items", "21 items; a batch holds 1 to 20. Send more than one batch."),
        ({"items": [{"text": "a"}], "texts": ["a"]}, "items", "given beside texts"),
        ({"texts": ["a"], "metadata": {"a": 1}}, "metadata.a", "1 is not text"),
        ({"texts": ["a"], "callback_events": ["task.failed"]}, "callback_events", "without callback_url"),
    ],
)
def test_a_bad_item_is_named_and_nothing_is_queued(client, body, field, rule) -> None:
    answer = client.post(BATCH, json=body)
    assert answer.status_code == 422
    problem = answer.json()["data"]["problems"][0]
    assert problem["field"] == field
    assert rule in problem["rule"]
    assert client.get("/api/v1/image/tasks").json()["data"]["tasks"] == []


def test_a_batch_that_is_refused_leaves_no_picture_behind(client, service) -> None:
    before = {stored.key for stored in service.store.list("uploads/")}
    picture = encoded(Image.new("RGB", (64, 64), "maroon"), "png")
    uri = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    items = [{"text": "a", "image_url": uri, "params": SMALL}, {"text": "b", "model_type": "none"}]
    assert client.post(BATCH, json={"items": items}).status_code == 422
    assert {stored.key for stored in service.store.list("uploads/")} == before


def test_a_batch_is_cancelled_as_a_whole(client, stranger) -> None:
    batch = sent(client, texts=["a", "b", "c"], params=SMALL)["query_url"]
    assert stranger.delete(batch).status_code == 404
    data = client.delete(batch).json()["data"]
    assert (data["cancelled_count"], data["progress"]) == (3, 100)
    assert client.delete(batch).json()["data"] == data, "what has ended stays as it is"


def test_a_batch_is_followed_to_its_end(client, service, painter) -> None:
    batch = sent(client, texts=["a slow mug", "a cup"], params=SMALL)["query_url"]
    with client.stream("GET", f"{batch}/events") as stream:
        told = events(stream)
    last_id, last = told[-1]
    assert (last["success_count"], last["progress"]) == (2, 100)
    assert len({id for id, _ in told}) == len(told) > 1
    progress = [data["progress"] for _, data in told]
    assert progress == sorted(progress)
    assert client.get(f"{batch}/events", headers={"Last-Event-ID": last_id}).status_code == 204
    assert httpx.get(f"{client.base_url}{batch}/events").status_code == 401


def test_metadata_is_told_with_a_task_even_if_the_request_is_long(client, painter) -> None:
    metadata = {f"order {n}": "1" * 512 for n in range(5)}
    body = {"text": "a mug", "params": SMALL, "metadata": metadata}
    task = client.post("/api/v1/image/generate", json=body).json()["data"]["query_url"]
    wait_until(lambda: client.get(task).json()["data"]["status"] == "success")
    assert client.get(task).json()["data"]["metadata"] == metadata

"""The HTTP calls, through a real server, Redis and store."""

import io
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from gateway.service import GatewayService
from models.request import Priority
from tests.support.painter import PREVIEW, STEPS
from tests.support.running_gateway import RunningGateway
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
MUG = {"text": "a red mug", "params": {"resolution": "128×96", "steps": 4, "post_process": {"format": "png"}}}


def submit(client: httpx.Client, **changes: object) -> str:
    answer = client.post(GENERATE, json={**MUG, **changes})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"]["task_id"])


def finished(client: httpx.Client, task_id: str) -> dict:
    wait_until(lambda: state(client, task_id)["status"] in ("success", "failed", "cancelled"))
    return state(client, task_id)


def state(client: httpx.Client, task_id: str) -> dict:
    answer = client.get(f"/api/v1/image/task/{task_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["data"])


def test_a_request_becomes_a_picture_that_downloads(client, painter) -> None:
    answer = client.post(GENERATE, json=MUG)
    assert answer.json().keys() == {"code", "message", "data"}
    assert answer.json()["code"] == answer.status_code == 200
    data = answer.json()["data"]
    assert data["task_id"].startswith("img_")
    assert (data["status"], data["progress"]) == ("waiting", 0)
    assert data["query_url"] == f"/api/v1/image/task/{data['task_id']}"
    wait_until(lambda: client.get(data["query_url"]).json()["data"]["status"] == "success")
    task = client.get(data["query_url"]).json()["data"]
    assert task["progress"] == 100
    result = task["result"]
    assert (result["resolution"], result["format"]) == ("128×96", "png")
    original = httpx.get(result["original_url"])
    assert original.headers["content-type"] == "image/png"
    assert len(original.content) == result["size"]
    assert Image.open(io.BytesIO(original.content)).size == (128, 96)
    head = httpx.head(result["original_url"])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(result["size"]), b"")
    assert httpx.get(result["thumb_url"]).content == original.content


def test_urls_in_results_stay_the_same(client, painter) -> None:
    task_id = submit(client)
    assert finished(client, task_id)["result"] == finished(client, task_id)["result"]


def test_a_failed_task_says_why(client, painter) -> None:
    task = finished(client, submit(client, text="fail this"))
    assert (task["status"], task["error_msg"]) == ("failed", "The input picture could not be fetched.")
    assert "result" not in task


def test_a_prompt_for_what_the_model_cannot_paint_gets_a_hint_with_its_picture(client, painter) -> None:
    answers = [client.post("/api/v1/image/generate", json={**MUG, "text": text}) for text in ("a cat", "a mug")]
    cat, mug = (answer.json()["data"] for answer in answers)

    assert cat["hint"].startswith("Model 'tiny' paints nothing but: t-shirt, dress, ")
    assert finished(client, cat["task_id"])["hint"] == cat["hint"]
    assert "hint" not in mug | finished(client, mug["task_id"])


def test_every_picture_of_a_task_is_in_its_result(client, painter) -> None:
    params = {**MUG["params"], "num_images": 3, "seed": 7}
    result = finished(client, submit(client, params=params))["result"]
    assert [picture["seed"] for picture in result["pictures"]] == [7, 8, 9]
    assert len({httpx.get(picture["original_url"]).content for picture in result["pictures"]}) == 1
    assert len({picture["original_url"] for picture in result["pictures"]}) == 3


def test_a_batch_of_twenty_is_counted_as_it_ends(client, painter) -> None:
    texts = [f"mug {n}" for n in range(19)] + ["fail"]
    answer = client.post("/api/v1/image/batch-generate", json={"texts": texts, "params": MUG["params"]})
    data = answer.json()["data"]
    assert data["batch_task_id"].startswith("batch_")
    assert data["total"] == len(set(data["task_ids"])) == 20
    wait_until(lambda: client.get(data["query_url"]).json()["data"]["progress"] == 100)
    batch = client.get(data["query_url"]).json()["data"]
    assert (batch["success_count"], batch["failed_count"], batch["waiting_count"]) == (19, 1, 0)
    assert [task["task_id"] for task in batch["tasks"]] == data["task_ids"]
    assert batch["tasks"][0]["result"]["resolution"] == "128×96"
    assert batch["tasks"][19]["result"] is None


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({"texts": ["a"] * 21}, "texts", "21 texts; a batch holds 1 to 20. Send more than one batch."),
        ({"texts": []}, "texts", "0 texts; a batch holds 1 to 20. Send more than one batch."),
        ({"texts": "a"}, "texts", "'a' is not a list"),
        ({}, "texts", "required, but not given"),
        ({"texts": ["a", " "]}, "texts.1", "blank, but must say something"),
        ({"texts": ["a"], "image_url": "http://example.com/a.png"}, "image_url", "unknown field of a batch"),
    ],
)
def test_a_bad_batch_names_field_and_rule(client, body, field, rule) -> None:
    answer = client.post("/api/v1/image/batch-generate", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, 422)
    assert {"field": field, "rule": rule} in answer.json()["data"]["problems"]
    assert answer.json()["message"] == f"{field}: {rule}"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"text": " "}, "text"),
        ({"text": 5}, "text"),
        ({"params": {"steps": 0}}, "params.steps"),
        ({"params": {"resolution": "130x130"}}, "params.resolution"),
        ({"params": {"seed": float("nan")}}, "params.seed"),
        ({"params": []}, "params"),
        ({"model_type": "sd99"}, "model_type"),
        ({"imageurl": "x"}, "imageurl"),
        ({"image_url": "ftp://example.com/a.png"}, "image_url"),
        ({"image_url": "file:///etc/passwd"}, "image_url"),
        ({"image_url": "http://127.0.0.1:8080/a.png"}, "image_url"),
        ({"image_url": "http://[::1]/a.png"}, "image_url"),
        ({"image_url": "http://169.254.169.254/latest/meta-data"}, "image_url"),
        ({"image_url": "store:uploads/20250101/a.png"}, "image_url"),
        ({"callback_url": "http://10.0.0.5/hook"}, "callback_url"),
        ({"text": "\ud800"}, "text"),
    ],
)
def test_a_bad_field_is_named(client, changes, field) -> None:
    answer = client.post(GENERATE, content=json.dumps({**MUG, **changes}))
    assert answer.status_code == answer.json()["code"] == 422
    assert field in [problem["field"] for problem in answer.json()["data"]["problems"]]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"text": ' + b"9" * 5000 + b"}"])
def test_a_body_that_is_not_json_is_refused(client, body) -> None:
    answer = client.post(GENERATE, content=body)
    assert answer.status_code == answer.json()["code"] == 400


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"7"])
def test_a_body_that_is_no_object_is_refused(client, body) -> None:
    assert client.post(GENERATE, content=body).status_code == 422


def test_without_a_key_nothing_is_told(gateway) -> None:
    for method, path in [("POST", GENERATE), ("GET", "/api/v1/image/task/img_x"), ("GET", "/api/v1/models")]:
        answer = httpx.request(method, gateway.url + path)
        assert answer.status_code == answer.json()["code"] == 401
        assert answer.json()["data"] is None


def test_a_wrong_key_is_refused(gateway) -> None:
    for wrong in ("igx_wrong", "x" * 5000, "é"):
        answer = httpx.post(gateway.url + GENERATE, json=MUG, headers={"X-API-Key": wrong.encode()})
        assert answer.status_code == answer.json()["code"] == 403


def test_a_revoked_key_is_refused_at_once(client, key, service) -> None:
    task_id = submit(client)
    assert service.accounts.revoke(key)
    assert client.post(GENERATE, json=MUG).status_code == 403
    assert client.get(f"/api/v1/image/task/{task_id}").status_code == 403


def test_an_expired_key_is_refused_and_told_so(client, key, service) -> None:
    accounts = service.accounts
    ended = accounts.authenticate(key).model_copy(update={"expires_at_s": time.time() - 60})
    accounts._link.call(lambda redis: redis.set(accounts._record(key), ended.model_dump_json()))
    answer = client.post(GENERATE, json=MUG)
    assert answer.status_code == answer.json()["code"] == 403
    assert "expired" in answer.json()["message"]


def test_over_its_qps_a_key_waits(gateway, service) -> None:
    slow = service.accounts.create("bob", qps=3)
    with httpx.Client(base_url=gateway.url, headers={"X-API-Key": slow}) as client:
        answers = [client.get("/api/v1/models") for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 3 <= len(refused) <= 5
    assert all(int(answer.headers["retry-after"]) >= 1 and answer.json()["code"] == 429 for answer in refused)
    assert slow not in refused[0].text


def test_a_task_of_somebody_else_is_not_found(client, stranger, painter) -> None:
    task_id = submit(client)
    finished(client, task_id)
    for path in (f"task/{task_id}", f"task/{task_id}/events", f"file/{task_id}/original"):
        answer = stranger.get(f"/api/v1/image/{path}")
        assert answer.status_code == answer.json()["code"] == 404
    assert stranger.delete(f"/api/v1/image/task/{task_id}").status_code == 404
    assert stranger.get("/api/v1/image/tasks").json()["data"]["tasks"] == []
    unknown = stranger.get("/api/v1/image/task/img_nobody").json()["message"]
    assert stranger.get(f"/api/v1/image/task/{task_id}").json()["message"] == unknown.replace("img_nobody", task_id)


def test_a_batch_of_somebody_else_is_not_found(client, stranger) -> None:
    batch = client.post("/api/v1/image/batch-generate", json={"texts": ["a"]}).json()["data"]["batch_task_id"]
    assert stranger.get(f"/api/v1/image/batch-task/{batch}").status_code == 404
    assert client.get(f"/api/v1/image/batch-task/{batch}").status_code == 200


def test_a_waiting_task_is_cancelled_at_once(client) -> None:
    task_id = submit(client)
    answer = client.delete(f"/api/v1/image/task/{task_id}")
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "cancelled")
    assert state(client, task_id)["status"] == "cancelled"


def test_a_running_task_is_cancelled_soon(client, painter) -> None:
    painter.slow_s = 4
    task_id = submit(client, text="slow mug")
    wait_until(lambda: state(client, task_id)["status"] == "processing")
    client.delete(f"/api/v1/image/task/{task_id}")
    assert finished(client, task_id)["status"] == "cancelled"


def test_an_idempotency_key_makes_one_task_of_two_calls(client) -> None:
    headers = {"Idempotency-Key": "order-17"}
    first, second = (client.post(GENERATE, json=MUG, headers=headers).json()["data"] for _ in range(2))
    assert first["task_id"] == second["task_id"]
    other = client.post(GENERATE, json={**MUG, "text": "another"}, headers=headers)
    assert other.status_code == other.json()["code"] == 409
    assert client.post(GENERATE, json=MUG, headers={"Idempotency-Key": "x" * 256}).status_code == 422


def test_a_full_queue_says_when_to_come_back(settings) -> None:
    from gateway.main import open_service
    from tests.support.running_gateway import running_gateway

    queue = settings.queue.model_copy(update={"max_waiting": 3, "namespace": "test-full"})
    service = open_service(settings.model_copy(update={"queue": queue}))
    headers = {"X-API-Key": service.accounts.create("ada")}
    with running_gateway(service) as gateway, httpx.Client(base_url=gateway.url, headers=headers) as client:
        answers = [client.post(GENERATE, json=MUG) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 503]
        assert int(answers[3].headers["retry-after"]) >= 1
        batch = client.post("/api/v1/image/batch-generate", json={"texts": ["a"]})
        assert batch.status_code == batch.json()["code"] == 503
    service.queue.close()


def test_who_prefers_to_wait_gets_the_picture_at_once(client, painter) -> None:
    answer = client.post(GENERATE, json=MUG, headers={"Prefer": "respond-async, wait=30"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=5"), "as long as the gateway waits"
    assert answer.json()["data"] == state(client, answer.json()["data"]["task_id"])
    assert answer.json()["data"]["status"] == "success"
    failed = client.post(GENERATE, json={**MUG, "text": "fail"}, headers={"Prefer": "wait=5"}).json()
    assert (failed["code"], failed["data"]["status"]) == (200, "failed")


def test_who_has_waited_as_long_as_preferred_is_told_where_to_ask(client) -> None:
    answer = client.post(GENERATE, json=MUG, headers={"Prefer": 'wait="0"'})
    assert (answer.status_code, answer.json()["code"], answer.headers["preference-applied"]) == (202, 202, "wait=0")
    assert client.get(answer.json()["data"]["query_url"]).json()["data"]["status"] == "waiting"


@pytest.mark.parametrize("given", ["wait", "wait=-1", "wait=soon", "return=minimal", ""])
def test_a_preference_that_is_none_is_ignored(client, given) -> None:
    answer = client.post(GENERATE, json=MUG, headers={"Prefer": given})
    assert (answer.status_code, "preference-applied" in answer.headers) == (200, False)


def test_waiting_takes_no_thread(client, service) -> None:
    before = threading.active_count()
    with ThreadPoolExecutor(20) as callers:
        waits = [callers.submit(client.post, GENERATE, json=MUG, headers={"Prefer": "wait=1"}) for _ in range(20)]
        wait_until(lambda: service.queue.depth().waiting[Priority.INTERACTIVE] >= 20)
        assert threading.active_count() - before <= 20 + 2 * service.settings.gateway.threads
        assert {wait.result().status_code for wait in waits} == {202}


def test_events_show_previews_to_who_asks_for_them(client, painter) -> None:
    task_id = submit(client, text="a slow mug")
    with client.stream("GET", f"/api/v1/image/task/{task_id}/events?previews=true") as stream:
        lines = list(stream.iter_lines())
    after = [lines[place + 1] for place, line in enumerate(lines) if line == "event: preview"]
    previews = [json.loads(line.removeprefix("data: ")) for line in after]
    assert previews
    assert previews[0]["progress"] in STEPS
    expected = {"task_id": task_id, "picture": 1, "image": f"data:image/jpeg;base64,{PREVIEW}"}
    assert all(preview | {"progress": 0} == expected | {"progress": 0} for preview in previews)
    assert lines.count("event: task") > 1
    with client.stream("GET", f"/api/v1/image/task/{submit(client, text='a slow cup')}/events") as stream:
        assert "event: preview" not in stream.iter_lines()


def test_events_show_progress_and_end_with_the_task(client, painter) -> None:
    task_id = submit(client, text="slow mug")
    with client.stream("GET", f"/api/v1/image/task/{task_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert len(progress) > 1
    assert events[-1]["status"] == "success"
    assert events[-1]["result"] == state(client, task_id)["result"]


def test_the_list_shows_ones_own_tasks_newest_first_page_by_page(client, painter) -> None:
    ids = []
    for n in range(5):
        ids.append(submit(client, text=f"mug {n}"))
        finished(client, ids[-1])
    first = client.get("/api/v1/image/tasks", params={"limit": 3}).json()["data"]
    assert [task["task_id"] for task in first["tasks"]] == ids[:1:-1]
    assert first["tasks"][0]["text"] == "mug 4"
    assert first["tasks"][0]["params"]["steps"] == 4
    rest = client.get("/api/v1/image/tasks", params={"before": first["next_before"]}).json()["data"]
    assert [task["task_id"] for task in rest["tasks"]] == ids[1::-1]
    assert rest["next_before"] is None


def test_pages_that_end_inside_a_batch_leave_no_task_out(client) -> None:
    batch = client.post("/api/v1/image/batch-generate", json={"texts": [f"mug {n}" for n in range(20)]}).json()["data"]
    found, page = [], {"next_before": ""}
    while page["next_before"] is not None:
        page = client.get("/api/v1/image/tasks", params={"limit": 7, "before": page["next_before"]}).json()["data"]
        found += [task["task_id"] for task in page["tasks"]]
    assert len(found) == 20
    assert set(found) == set(batch["task_ids"])


def test_a_time_alone_may_begin_a_page(client) -> None:
    task_id = submit(client)
    task = client.get("/api/v1/image/tasks").json()["data"]["tasks"][0]
    for before, ids in [(task["created_at"], []), (task["created_at"] + 0.001, [task_id]), (99999999999, [task_id])]:
        page = client.get("/api/v1/image/tasks", params={"before": before}).json()["data"]
        assert [listed["task_id"] for listed in page["tasks"]] == ids


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", 0), ("limit", 101), ("limit", "many"), ("before", "nan"), ("before", "inf"), ("before", -1)),
        *(("before", "1700000000~"), ("before", "1700000000~a b"), ("before", "~img_x"), ("before", "1e400")),
    ],
)
def test_a_bad_page_of_the_list_is_refused(client, name, value) -> None:
    answer = client.get("/api/v1/image/tasks", params={name: value})
    assert answer.status_code == answer.json()["code"] == 422
    assert [problem["field"] for problem in answer.json()["data"]["problems"]] == [name]


def test_models_say_what_they_can_do(client) -> None:
    data = client.get("/api/v1/models").json()["data"]
    assert data["default_model"] == "tiny"
    tiny = next(model for model in data["models"] if model["name"] == "tiny")
    assert tiny["defaults"] == {"steps": 20, "cfg_scale": 4.0, "sampler": "DDIM", "resolution": "128×128"}
    assert (tiny["min_side_px"], tiny["max_side_px"], tiny["loras"]) == (96, 256, ["sketch", "pastel"])


@pytest.mark.parametrize("change", ["token", "kind", "task", "none", "garbage"])
def test_a_picture_url_that_was_changed_opens_nothing(client, painter, change) -> None:
    task_id = submit(client)
    url = finished(client, task_id)["result"]["original_url"]
    other = finished(client, submit(client))["task_id"]
    changed = {
        "token": url[:-1] + ("A" if url[-1] != "A" else "B"),
        "kind": url.replace("/original", "/thumb"),
        "task": url.replace(task_id, other),
        "none": url.partition("?")[0],
        "garbage": url.partition("?")[0] + "?token=%ff.%00.é",
    }[change]
    answer = httpx.get(changed)
    assert answer.status_code == (401 if change == "none" else 403)
    assert answer.json()["code"] == answer.status_code


def test_a_key_opens_its_owners_pictures_without_a_token(client, painter) -> None:
    task_id = submit(client, params={**MUG["params"], "num_images": 2})
    result = finished(client, task_id)["result"]
    path = f"/api/v1/image/file/{task_id}"
    assert client.get(f"{path}/original").content == httpx.get(result["original_url"]).content
    second = httpx.get(result["pictures"][1]["thumb_url"]).content
    assert client.get(f"{path}/thumb", params={"number": 2}).content == second
    assert client.get(f"{path}/original", params={"number": 3}).status_code == 404
    assert client.get(f"{path}/preview").status_code == 422


def test_a_picture_of_an_unfinished_task_is_not_there(client) -> None:
    answer = client.get(f"/api/v1/image/file/{submit(client)}/original")
    assert answer.status_code == 404
    assert re.search("it is waiting", answer.json()["message"])


def test_a_picture_that_was_deleted_is_not_found(client, painter, service: GatewayService) -> None:
    task_id = submit(client)
    url = finished(client, task_id)["result"]["original_url"]
    task = service.queue.task(task_id)
    service.store.delete(task.result.pictures[0].original_key)
    assert httpx.get(url).status_code == 404


def test_unknown_paths_and_methods_answer_in_the_envelope(gateway: RunningGateway) -> None:
    for method, path, code in [("GET", "/nothing", 404), ("PUT", GENERATE, 405), ("GET", "/page/../main.py", 404)]:
        answer = httpx.request(method, gateway.url + path)
        assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (code, code, None)
        assert "/docs" in answer.json()["message"] or path.startswith("/page/")

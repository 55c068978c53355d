"""Pictures that were made here, and pictures in data URIs, as the input of further requests."""

import base64

import httpx
import pytest
from PIL import Image

from ops.store_life.tasks import live_tasks
from tests.gateway.test_http_images import GENERATE, MUG, finished, submit
from tests.support.painter import encoded

PICTURE = encoded(Image.new("RGB", (64, 48), "teal"), "png")


def data_uri(data: bytes = PICTURE, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def made(client, painter) -> dict:
    """A finished task of three pictures."""
    task_id = submit(client, params={**MUG["params"], "num_images": 3})
    return {"task_id": task_id, **finished(client, task_id)["result"]}


def input_of(service, client, **fields: str) -> str:
    task_id = submit(client, **fields)
    return service.queue.task(task_id).request["image_url"]


def test_a_picture_made_here_is_named_by_task_by_number_or_by_url(made, client, service) -> None:
    first, second = made["pictures"][0], made["pictures"][1]
    key = f"store:{service.queue.task(made['task_id']).result.pictures[0].original_key}"
    assert input_of(service, client, image_url=made["task_id"]) == key
    assert input_of(service, client, image_url=f"{made['task_id']}/1") == key
    assert input_of(service, client, image_url=first["original_url"]) == key
    moved = first["original_url"].replace("127.0.0.1", "localhost")
    assert input_of(service, client, image_url=moved) == key
    by_number = input_of(service, client, image_url=f"{made['task_id']}/2")
    assert by_number == input_of(service, client, image_url=second["original_url"]) != key


def test_the_picture_that_a_task_names_becomes_the_input_of_its_run(made, client) -> None:
    task_id = submit(client, image_url=made["task_id"], params={**MUG["params"], "strength": 0.5})
    assert finished(client, task_id)["status"] == "success"


def test_what_is_someone_elses_or_not_there_is_refused_with_its_field(made, client, stranger) -> None:
    for asker, given in (
        (stranger, made["task_id"]),
        (client, f"{made['task_id']}/9"),
        (client, "img_nobody"),
        (client, "store:uploads/20260101/x.png"),
    ):
        answer = asker.post(GENERATE, json={**MUG, "image_url": given})
        assert (answer.status_code, answer.json()["data"]["problems"][0]["field"]) == (422, "image_url"), given


def test_the_input_of_an_earlier_task_is_named_by_that_task(made, client, service) -> None:
    earlier = submit(client, image_url=data_uri(), mask_url=made["task_id"])
    listed = client.get("/api/v1/image/tasks").json()["data"]["tasks"][0]
    assert (listed["image_url"], listed["mask_url"]) == (f"{earlier}/image", f"{earlier}/mask")
    again = submit(client, image_url=listed["image_url"], mask_url=listed["mask_url"])
    inputs = ("image_url", "mask_url")
    first, second = (service.queue.task(task_id).request for task_id in (earlier, again))
    assert [first[name] for name in inputs] == [second[name] for name in inputs]
    fetched = submit(client, image_url="https://pictures.example/a.png")
    assert input_of(service, client, image_url=f"{fetched}/image") == "https://pictures.example/a.png"
    answer = client.post(GENERATE, json={**MUG, "image_url": f"{made['task_id']}/image"})
    assert answer.json()["message"] == f"image_url: Task '{made['task_id']}' has no image_url."


def test_each_of_several_control_pictures_is_named_as_a_single_one(made, client, service, stranger) -> None:
    controls = [{"image": data_uri(), "weight": 0.5}, {"image": made["task_id"]}]
    earlier = submit(client, controls=controls)
    kept = service.queue.task(earlier).request["controls"]
    assert [control["image"].startswith("store:") for control in kept] == [True, True]
    assert {control["image"].removeprefix("store:") for control in kept} <= live_tasks(service.settings).keys
    listed = client.get("/api/v1/image/tasks").json()["data"]["tasks"][0]["controls"]
    assert [control["image"] for control in listed] == [f"{earlier}/controls.{place}.image" for place in (0, 1)]
    again = submit(client, controls=listed)
    assert service.queue.task(again).request["controls"] == kept
    assert finished(client, again)["status"] == "success"
    for asker, given in (
        (stranger, made["task_id"]),
        (client, "store:uploads/20260101/x.png"),
        (client, "file:///etc"),
    ):
        answer = asker.post(GENERATE, json={**MUG, "controls": [{"image": given}]})
        assert (answer.status_code, answer.json()["data"]["problems"][0]["field"]) == (422, "controls.0.image"), given


def test_a_url_of_ours_with_another_token_is_not_fetched(made, client, gateway) -> None:
    url = f"{gateway.url}/api/v1/image/file/{made['task_id']}/original?token=1.AA.{'A' * 22}"
    answer = client.post(GENERATE, json={**MUG, "image_url": url})
    assert answer.status_code == 422
    assert answer.json()["data"]["problems"][0]["field"] == "image_url"


def test_a_picture_larger_than_models_take_is_refused_before_it_waits(made, client, service, monkeypatch) -> None:
    pictures = service.settings.pictures.model_copy(update={"max_input_pixels": 1000})
    monkeypatch.setattr(service, "settings", service.settings.model_copy(update={"pictures": pictures}))
    answer = client.post(GENERATE, json={**MUG, "image_url": made["task_id"]})
    assert answer.json()["message"] == "image_url: the picture has 12,288 pixels, above the maximum of 1,000"


def test_a_data_uri_is_an_upload(client, service) -> None:
    reference = input_of(service, client, image_url=data_uri(), mask_url=data_uri())
    assert reference.startswith("store:uploads/")
    assert service.store.get(reference.removeprefix("store:")) == PICTURE


@pytest.mark.parametrize(
    "uri",
    [
        data_uri(b"no picture"),
        data_uri(kind="text/html"),
        "data:image/png;base64,%%%",
        "data:image/png,abc",
        "data:",
        "DATA:image/svg+xml;base64,PHN2Zy8+",
    ],
)
def test_a_data_uri_of_no_picture_is_refused_with_its_field(client, uri) -> None:
    answer = client.post(GENERATE, json={**MUG, "image_url": uri})
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["data"]["problems"]] == ["image_url"]


def test_the_token_decides_which_picture_is_sent_whatever_key_comes_with_it(made, client, stranger, service) -> None:
    stored = [service.store.get(one.original_key) for one in service.queue.task(made["task_id"]).result.pictures]
    marked = [data + bytes([n]) for n, data in enumerate(stored)]
    for one, data in zip(service.queue.task(made["task_id"]).result.pictures, marked, strict=True):
        service.store.put(one.original_key, data, content_type="image/png")
    for place, picture in enumerate(made["pictures"]):
        url = picture["original_url"]
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer another-service"}, dict(client.headers)):
            answer = httpx.get(url, headers=headers)
            assert (answer.status_code, answer.content) == (200, marked[place])
        assert stranger.get(url).content == marked[place]


def test_a_picture_that_a_caller_has_is_not_sent_again(made) -> None:
    url = made["original_url"]
    first = httpx.get(url)
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = httpx.get(url, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert httpx.get(url, headers={"If-None-Match": '"other"'}).content == first.content


def test_a_range_beyond_the_picture_is_refused_in_our_form(made) -> None:
    answer = httpx.get(made["original_url"], headers={"Range": f"bytes={made['size']}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{made['size']}")
    assert answer.json() == {
        "code": 416,
        "message": "The header Range asks for bytes that this picture has not.",
        "data": None,
    }
    part = httpx.get(made["original_url"], headers={"Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)


@pytest.mark.parametrize(
    ("path", "name"), [("/api/v1/image/tasks?limits=5", "limits"), ("/api/v1/models?q=1", "q"), ("/v1/models?x=1", "x")]
)
def test_an_unknown_query_parameter_is_refused(client, path, name) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 422)
    assert f"{name}: unknown query parameter" in answer.text

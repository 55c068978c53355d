"""The OpenAI form, spoken by the official client."""

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from openai import OpenAI
from openapi_spec_validator import validate
from PIL import Image

from configs.queue_settings import QueueSettings
from configs.settings import Settings
from gateway import caller_waits
from gateway.main import open_service
from resources.object_store import StoreError
from resources.queue import TaskStatus
from tests.support.painter import PREVIEW, Painter, encoded
from tests.support.redis_server import running_redis
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.waiting import wait_until


@pytest.fixture
def official(gateway: RunningGateway, key: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as official:
        yield official


def test_the_official_client_makes_a_picture_by_url(official, painter) -> None:
    answer = official.images.generate(prompt="a red mug", model="tiny", size="128x128")
    assert answer.created > 1_700_000_000
    picture = httpx.get(answer.data[0].url)
    assert Image.open(io.BytesIO(picture.content)).size == (128, 128)


def test_the_official_client_makes_pictures_as_base64(official, painter) -> None:
    answer = official.images.generate(
        prompt="a red mug", n=2, size="96x160", response_format="b64_json", output_format="png", user="u-1"
    )
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.b64_json))) for one in answer.data]
    assert [(picture.size, picture.format) for picture in pictures] == [((96, 160), "PNG")] * 2


def test_our_own_fields_can_be_sent_along(official, painter, client) -> None:
    official.images.generate(prompt="a blue mug", size="auto", extra_body={"steps": 3, "seed": 11, "sampler": "Euler"})
    params = client.get("/api/v1/image/tasks").json()["data"]["tasks"][0]["params"]
    assert (params["steps"], params["seed"], params["sampler"], params["resolution"]) == (3, 11, "Euler", "128×128")


def test_several_loras_come_with_a_picture_and_with_an_edit(official, painter, service, user) -> None:
    loras = [{"name": "pastel", "weight": 0.5}, {"name": "sketch", "weight": 1}]
    image = encoded(Image.new("RGB", (128, 128), "red"), "png")
    official.images.generate(prompt="a mug", model="tiny", extra_body={"loras": loras})
    official.images.edit(image=("a.png", image), prompt="a", model="tiny", extra_body={"loras": json.dumps(loras)})
    given = [task.request["params"]["loras"] for task in service.queue.owned(user)]
    assert given == [loras, loras]


@pytest.mark.parametrize("text", ["pastel", "[", "[" * 100_000, '{"name": "pastel"}'])
def test_a_form_whose_loras_are_no_list_is_refused(official, text) -> None:
    image = encoded(Image.new("RGB", (64, 64), "red"), "png")
    with pytest.raises(openai.BadRequestError) as refused:
        official.images.edit(image=("a.png", image), prompt="a", model="tiny", extra_body={"loras": text})
    assert refused.value.param == "loras"


def test_the_official_client_edits_a_picture_where_the_mask_is_transparent(official, painter, service, user) -> None:
    image = encoded(Image.new("RGB", (128, 128), "red"), "png")
    hole = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (32, 32, 96, 96))
    mask = encoded(hole, "png")
    answer = official.images.edit(
        image=("a.png", image), mask=("m.png", mask), prompt="a blue mug", size="128x128", n=1
    )
    assert httpx.get(answer.data[0].url).status_code == 200
    request = service.queue.owned(user)[0].request
    assert service.store.get(request["image_url"].removeprefix("store:")) == image
    stored = Image.open(io.BytesIO(service.store.get(request["mask_url"].removeprefix("store:"))))
    assert (stored.mode, stored.getpixel((0, 0)), stored.getpixel((64, 64))) == ("L", 0, 255)


def test_the_official_client_streams_partial_pictures(official, painter) -> None:
    with official.images.generate(prompt="a slow mug", size="128x96", n=2, stream=True, partial_images=2) as stream:
        events = list(stream)
    assert [event.type.removeprefix("image_generation.") for event in events[-2:]] == ["completed"] * 2
    partials = events[:-2]
    assert [(event.type, event.partial_image_index, event.b64_json) for event in partials] == [
        ("image_generation.partial_image", place, PREVIEW) for place in range(len(partials))
    ]
    assert 1 <= len(partials) <= 2
    finished = [Image.open(io.BytesIO(base64.b64decode(event.b64_json))) for event in events[-2:]]
    assert [(one.format.lower(), one.size) for one in finished] == [(events[-1].output_format, (128, 96))] * 2


def test_an_edit_can_be_streamed_without_partial_pictures(official, painter) -> None:
    image = encoded(Image.new("RGB", (128, 128), "red"), "png")
    with official.images.edit(image=("a.png", image), prompt="a blue mug", stream=True) as stream:
        assert [event.type for event in stream] == ["image_edit.completed"]


def test_a_stream_that_fails_says_why(official, painter) -> None:
    with (
        official.images.generate(prompt="a mug, fail", stream=True) as stream,
        pytest.raises(openai.APIError, match="The input picture could not be fetched"),
    ):
        list(stream)


def test_a_stream_whose_reader_leaves_is_cancelled(official, service, user, monkeypatch) -> None:
    monkeypatch.setattr(caller_waits, "COMES_BACK_WITHIN_S", 0.1)
    with official.images.generate(prompt="a mug", stream=True):
        wait_until(lambda: service.queue.owned(user))
    wait_until(lambda: service.queue.owned(user)[0].status is TaskStatus.CANCELLED)


def test_models_are_listed(official) -> None:
    assert "tiny" in [model.id for model in official.models.list()]


def test_a_wrong_key_is_an_authentication_error(gateway) -> None:
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-wrong", max_retries=0) as official,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        official.images.generate(prompt="a")
    assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("options", "param", "text"),
    [
        ({"size": "100x100"}, "size", "both must be multiples of 8"),
        ({"model": "dall-e-3"}, "model", "Known models:"),
        ({"n": 99}, "n", "99 is above the maximum of 16"),
        ({"prompt": " "}, "prompt", "blank"),
        ({"response_format": "gif"}, "response_format", "'gif' is not one of url, b64_json"),
        ({"output_format": "tiff"}, "output_format", "'tiff' is not one of png, jpeg, webp"),
        ({"extra_body": {"wings": 2}}, "wings", "unknown field"),
        ({"model": "tiny", "extra_body": {"loras": [{"name": "x"}]}}, "loras.0.name", "LoRA of model 'tiny'"),
        ({"extra_body": {"stream": 1}}, "stream", "1 is neither true nor false"),
        ({"stream": True, "partial_images": 4}, "partial_images", "4 is not a number from 0 to 3"),
        ({"extra_body": {"partial_images": 1}}, "partial_images", "goes with `stream`"),
        ({"background": "transparent"}, "background", "transparent backgrounds"),
    ],
)
def test_a_bad_field_is_named_as_openai_does(official, options, param, text) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        official.images.generate(**{"prompt": "a", **options})
    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
    assert text in refused.value.message


def test_a_picture_that_takes_too_long_is_named_and_not_asked_for_again(gateway, key, client) -> None:
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=2) as patient,
        pytest.raises(openai.InternalServerError) as late,
    ):
        patient.images.generate(prompt="a mug nobody paints")
    tasks = client.get("/api/v1/image/tasks").json()["data"]["tasks"]
    assert late.value.status_code == 504
    assert len(tasks) == 1
    assert f"not finished after 5 s. Task '{tasks[0]['task_id']}' goes on" in late.value.message
    client.delete(f"/api/v1/image/task/{tasks[0]['task_id']}")


def test_a_failed_picture_says_why_and_is_not_asked_for_again(gateway, key, painter, client) -> None:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key) as official, pytest.raises(openai.APIStatusError) as failed:
        official.images.generate(prompt="fail this")
    assert "The input picture could not be fetched." in failed.value.message
    assert len(client.get("/api/v1/image/tasks").json()["data"]["tasks"]) == 1


@pytest.mark.parametrize("files", [[], [("image", b"x"), ("image", b"y")], [("image", b"x"), ("photo", b"y")]])
def test_an_edit_takes_one_image_and_perhaps_a_mask(gateway, key, files) -> None:
    form = [(name, (name, data)) for name, data in files] or [("nothing", ("", b""))]
    answer = httpx.post(
        f"{gateway.url}/v1/images/edits", data={"prompt": "a"}, files=form, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_while_redis_is_away_a_call_waits_on_and_pays_for_one_picture(settings: Settings, tmp_path) -> None:
    with running_redis(tmp_path) as redis:
        queue = QueueSettings(url=redis.url, connect_timeout_s=0.5)
        patient = settings.gateway.model_copy(update={"sync_timeout_s": 60})
        service = open_service(settings.model_copy(update={"queue": queue, "gateway": patient}))
        key = service.accounts.create("ada")
        with (
            running_gateway(service) as gateway,
            OpenAI(base_url=f"{gateway.url}/v1", api_key=key) as official,
            ThreadPoolExecutor() as pool,
        ):
            answer = pool.submit(official.images.generate, prompt="a red mug", model="tiny")
            wait_until(lambda: service.queue.owned("ada"))
            redis.kill()
            away = {"X-API-Key": key}
            for _ in range(8):  # the call looks every two seconds
                assert httpx.get(f"{gateway.url}/api/v1/models", headers=away).status_code == 503
                time.sleep(0.3)
            redis.start()
            with Painter(service.queue, service.store):
                assert len(answer.result(60).data) == 1
            assert len(service.queue.owned("ada")) == 1
        service.queue.close()


def test_when_the_gateway_shuts_down_the_task_is_named_and_not_asked_for_again(service, key, user) -> None:
    with (
        running_gateway(service) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=2) as official,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(official.images.generate, prompt="a mug nobody paints")
        wait_until(lambda: service.queue.owned(user))
        gateway.app.state.face.changes.close()
        ended = answer.exception(60)
    (task,) = service.queue.owned(user)
    assert (ended.status_code, ended.response.headers["x-should-retry"]) == (503, "false")
    assert f"Task '{task.id}' goes on; its result will be at GET /api/v1/image/task/{task.id}." in ended.message
    service.queue.cancel(task.id)


def test_a_picture_that_cannot_be_read_is_not_made_again(gateway, key, painter, service, client, monkeypatch) -> None:
    def away(key: str) -> bytes:
        raise StoreError("the store is away")

    monkeypatch.setattr(service.store, "get", away)
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=2) as official,
        pytest.raises(openai.InternalServerError) as refused,
    ):
        official.images.generate(prompt="a red mug", response_format="b64_json")
    (task,) = client.get("/api/v1/image/tasks").json()["data"]["tasks"]
    assert refused.value.status_code == 503
    assert f"Task '{task['task_id']}' is done; its result will be at" in refused.value.message


def test_a_client_that_times_out_and_sends_again_pays_for_one_picture(gateway, key, service, user) -> None:
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key, timeout=2, max_retries=2) as hasty,
        pytest.raises(openai.APITimeoutError),
    ):
        hasty.images.generate(prompt="a mug nobody paints")
    wait_until(lambda: service.queue.owned(user))
    assert len(service.queue.owned(user)) == 1


def test_the_same_call_made_again_on_purpose_is_another_picture(official, painter, service, user) -> None:
    for _ in range(2):
        official.images.generate(prompt="a red mug")
    assert len(service.queue.owned(user)) == 2


def test_the_picture_of_a_caller_who_hangs_up_for_good_is_cancelled(service, key, user, monkeypatch) -> None:
    monkeypatch.setattr(caller_waits, "COMES_BACK_WITHIN_S", 0.3)
    with (
        running_gateway(service) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key, timeout=2, max_retries=0) as hasty,
    ):
        with pytest.raises(openai.APITimeoutError):
            hasty.images.generate(prompt="a mug nobody paints")
        wait_until(lambda: [task.status for task in service.queue.owned(user)] == [TaskStatus.CANCELLED])


def test_a_picture_is_made_for_the_call_that_came_back(service, key, user, monkeypatch) -> None:
    monkeypatch.setattr(caller_waits, "COMES_BACK_WITHIN_S", 1.5)
    with (
        running_gateway(service) as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key=key, timeout=2, max_retries=0) as hasty,
        ThreadPoolExecutor() as pool,
    ):
        with pytest.raises(openai.APITimeoutError):
            hasty.images.generate(prompt="a red mug")
        patient, again = hasty.with_options(timeout=60), {"x-stainless-retry-count": "1"}
        answer = pool.submit(patient.images.generate, prompt="a red mug", extra_headers=again)
        time.sleep(2)  # the one who hung up would have been given up by now
        with Painter(service.queue, service.store):
            assert len(answer.result(60).data) == 1
    assert len(service.queue.owned(user)) == 1


def test_one_model_is_told_of(official) -> None:
    assert official.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-image-9'"):
        official.models.retrieve("gpt-image-9")


@pytest.mark.parametrize(
    ("options", "param"),
    [({"background": "transparent"}, "background"), ({"output_compression": 50}, "output_compression")],
)
def test_what_cannot_be_done_is_refused(official, options, param) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        official.images.generate(prompt="a", **options)
    assert refused.value.param == param


def test_what_is_documented_as_the_default_is_the_default(gateway, official, painter, client) -> None:
    document = httpx.get(f"{gateway.url}/openapi.json").json()
    validate(document)
    body = document["paths"]["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    defaults = {name: field["default"] for name, field in body["properties"].items() if "default" in field}
    bare, full = {"prompt": "a red mug", "seed": 5}, {**defaults, "prompt": "a red mug", "seed": 5}
    for body in (bare, full):
        answer = httpx.post(
            f"{gateway.url}/v1/images/generations", json=body, headers={"Authorization": f"Bearer {official.api_key}"}
        )
        assert answer.status_code == 200, answer.text
    full_task, bare_task = client.get("/api/v1/image/tasks?limit=2").json()["data"]["tasks"]
    for name in ("params", "model_type", "text"):
        assert full_task[name] == bare_task[name]

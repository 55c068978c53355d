"""Client libraries that were not written here, each call once; docs/compatibility.md has the same table."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import openai
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from httpx_sse import connect_sse
from openai import AsyncOpenAI, OpenAI
from openapi_spec_validator import validate
from PIL import Image
from playwright.sync_api import Browser
from standardwebhooks import Webhook as StandardWebhook
from svix.webhooks import Webhook as SvixWebhook

from gateway.callback_secret import callback_secret
from gateway.callbacks import CallbackDeliverer
from gateway.grpc_server import start_grpc
from tests.support.painter import encoded
from tests.support.waiting import wait_until
from tests.support.web_server import running_web_server

ROWS: list[str] = []
SMALL = {"resolution": "96×96", "steps": 2}
MUG = encoded(Image.new("RGB", (64, 64), "teal"), "png")


def row(client: str, call: str, result: str) -> Callable[[Any], Any]:
    """The line of the table that a test shows."""
    ROWS.append(f"| {client} | {call} | {result} |")
    return lambda test: test


@pytest.fixture
def official(gateway, key, painter) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@row("openai, Python", "`images.generate`, URLs and base64", "works")
def test_openai_generates(official) -> None:
    made = official.images.generate(prompt="a mug", model="tiny", size="96x96", n=2, quality="high", user="u")
    assert [size(httpx.get(one.url).content) for one in made.data] == [(96, 96)] * 2
    (made,) = official.images.generate(prompt="a mug", size="96x96", response_format="b64_json").data
    assert size(base64.b64decode(made.b64_json)) == (96, 96)


@row("openai, Python", "`images.generate` and `images.edit` with `stream` and `partial_images`", "works")
def test_openai_streams(official) -> None:
    made = official.images.generate(prompt="a slow mug", size="96x96", stream=True, partial_images=1)
    kinds = [event.type for event in made]
    assert kinds == ["image_generation.partial_image", "image_generation.completed"]
    edited = official.images.edit(image=("a.png", MUG), prompt="a mug", size="96x96", stream=True)
    assert [event.type for event in edited] == ["image_edit.completed"]


@row("openai, Python", "`images.edit`, with and without `mask`", "works")
def test_openai_edits(official) -> None:
    hole = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    mask = ("m.png", encoded(hole, "png"))
    for more in ({}, {"mask": mask}):
        made = official.images.edit(image=("a.png", MUG), prompt="a mug", size="96x96", **more)
        assert size(httpx.get(made.data[0].url).content) == (96, 96)


@row("openai, Python", "`models.list`, `models.retrieve`", "works")
def test_openai_lists_models(official) -> None:
    assert "tiny" in {model.id for model in official.models.list()}
    assert official.models.retrieve("tiny").id == "tiny"


@row("openai, Python", "`AsyncOpenAI`", "works")
def test_openai_is_asynchronous(gateway, key, painter) -> None:
    async def make() -> Any:
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key) as client:
            calls = (client.images.generate(prompt=f"mug {n}", size="96x96") for n in range(3))
            return await asyncio.gather(*calls)

    assert [len(made.data) for made in asyncio.run(make())] == [1, 1, 1]


@row("openai, Python", '`background="transparent"`, `output_compression`', "refused, 400 that names the field")
def test_openai_is_told_what_is_not_done(official) -> None:
    for field, value in (("background", "transparent"), ("output_compression", 50)):
        with pytest.raises(openai.BadRequestError) as refused:
            official.images.generate(prompt="a mug", **{field: value})
        assert refused.value.param == field


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # of the client's own call
@row("openai, Python", "`images.create_variation`, `chat.completions`, `responses`", "refused, 404")
def test_openai_is_told_what_is_not_here(official) -> None:
    for call in (
        lambda: official.images.create_variation(image=("a.png", MUG)),
        lambda: official.chat.completions.create(model="tiny", messages=[]),
        lambda: official.responses.create(model="tiny", input="a mug"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()


@pytest.mark.parametrize(
    "body",
    [
        {"model": "tiny", "prompt": "a mug", "n": 1, "size": "96x96", "response_format": "b64_json"},
        {"model": "tiny", "prompt": "a mug", "n": 1, "size": "96x96", "quality": "auto", "style": None},
        {"model": "tiny", "prompt": "a mug", "size": "96x96", "user": "u", "extra_headers": None},
    ],
)
@row("Open WebUI, LangChain (what they send, by their documents)", "`POST /v1/images/generations`", "works")
def test_what_gateways_and_chat_pages_send_is_taken(client, painter, body) -> None:
    made = client.post("/v1/images/generations", json=body)
    assert made.status_code == 200, made.text


@row("httpx-sse", "events of a task and a batch, and coming back with `Last-Event-ID`", "works")
def test_httpx_sse_follows(client, painter) -> None:
    task = client.post("/api/v1/image/generate", json={"text": "a slow mug", "params": SMALL}).json()["data"]
    batch = client.post("/api/v1/image/batch-generate", json={"texts": ["a"], "params": SMALL}).json()["data"]
    for name, path in (("task", f"{task['query_url']}/events"), ("batch", f"{batch['query_url']}/events")):
        with connect_sse(client, "GET", path) as source:
            told = list(source.iter_sse())
        assert {event.event for event in told} == {name}
        assert json.loads(told[-1].data)["progress"] == 100
        assert client.get(path, headers={"Last-Event-ID": told[-1].id}).status_code == 204


@row("EventSource of a browser (Chromium)", "`events_url` of a task", "works, without a key")
def test_a_browser_follows(browser: Browser, gateway, client, painter) -> None:
    task = client.post("/api/v1/image/generate", json={"text": "a slow mug", "params": SMALL}).json()["data"]
    url = client.get(task["query_url"]).json()["data"]["events_url"]
    page = browser.new_page()
    page.goto(f"{gateway.url}/docs")
    status = page.evaluate(
        """(url) => new Promise((resolve) => {
            const events = new EventSource(url);
            events.addEventListener("task", ({data}) => {
                const {status, ended_at: ended} = JSON.parse(data);
                if (ended) { events.close(); resolve(status); }
            });
        })""",
        url,
    )
    page.close()
    assert status == "success"


@row("standardwebhooks, svix", "`Webhook.verify` of a callback", "works")
def test_webhooks_are_verified(service, client, painter, monkeypatch) -> None:
    with running_web_server() as web:
        monkeypatch.setattr(service._url_rules, "check", lambda url: None)
        body = {"text": "a mug", "params": SMALL, "callback_url": f"{web.url}/hook", "metadata": {"order": "7"}}
        assert client.post("/api/v1/image/generate", json=body).status_code == 200
        settings = service.settings.gateway.model_copy(update={"allow_private_hosts": ("127.0.0.1",)})
        monkeypatch.setattr(service, "settings", service.settings.model_copy(update={"gateway": settings}))
        deliverer = CallbackDeliverer(service)
        deliverer.start()
        wait_until(lambda: web.calls)
        deliverer.stop()
    (call,) = web.calls
    secret = callback_secret(service.settings)
    for verifier in (StandardWebhook(secret), SvixWebhook(secret)):
        verifier.verify(call.body, {name.lower(): value for name, value in call.headers.items()})
    assert json.loads(call.body)["data"]["metadata"] == {"order": "7"}


@row(
    "grpcio and reflection, no stubs",
    "`SubmitTask`, `QueryTask`, `WatchTask`, `CancelTask`; `metadata`",
    "works",
)
def test_grpc_works_from_reflection_alone(service, key, painter) -> None:
    server = start_grpc(service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        methods = pool.FindServiceByName("imagegenx.SchedulerService").methods_by_name

        def call(name: str, **fields: Any) -> Any:
            method = methods[name]
            kind = channel.unary_stream if method.server_streaming else channel.unary_unary
            answer = GetMessageClass(method.output_type)
            invoke = kind(
                f"/imagegenx.SchedulerService/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            return invoke(GetMessageClass(method.input_type)(api_key=key, **fields))

        task_id = call("SubmitTask", text="a mug", metadata={"order": "7"}).task_id
        assert [answer.status.status for answer in call("WatchTask", task_id=task_id)][-1] == "success"
        status = call("QueryTask", task_id=task_id).status
        assert status.original_url
        assert dict(status.metadata) == {"order": "7"}
        assert call("CancelTask", task_id=task_id).status.status == "success", "what has ended stays as it is"
    server.stop(0)


@row("openapi-spec-validator", "`/openapi.json`", "valid")
def test_the_openapi_document_is_valid(client) -> None:
    validate(client.get("/openapi.json").json())

"""Blocked words are refused at submission, on every face, before anything is queued."""

import grpc
import openai
import pytest

from configs.lifecycle_settings import CheckSettings
from gateway.grpc_server import start_grpc
from gateway.main import open_service
from gateway.stubs import imagegenx_pb2 as pb2
from tests.support.running_gateway import running_gateway
from tests.support.scheduler_stub import SchedulerServiceStub


@pytest.fixture(scope="module")
def strict(settings):
    checks = CheckSettings(moderation="blocklist", blocked_words=("gun", "枪"))
    service = open_service(settings.model_copy(update={"checks": checks}))
    with running_gateway(service) as running:
        yield running
    service.queue.close()


def mark(text):
    return {"post_process": {"watermark": {"enable": True, "text": text}}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "a red g\u200bun"}, "text"),
        ({"text": "a g(u:1)n<lora:shop:1>"}, "text"),
        ({"text": "a mug", "params": {"negative_text": "ɢᴜɴ"}}, "params.negative_text"),
        ({"text": "a mug", "params": mark("玩具枪")}, "params.post_process.watermark.text"),
    ],
)
def test_http_refuses_the_field(strict, client, user, body, field):
    key = client.headers["X-API-Key"]
    answer = client.post(f"{strict.url}/api/v1/image/generate", json=body, headers={"X-API-Key": key})

    assert answer.status_code == 422
    assert answer.json()["message"].startswith(f"{field}: has the blocked word '")
    assert client.get("/api/v1/image/tasks").json()["data"]["tasks"] == []
    (event,) = [event for event in strict.service.audit.read() if event["who"] == user]
    assert (event["event"], event["key"]) == ("request.rejected", key[:12])
    assert event["why"].startswith(f"{field}: has the blocked word '")


def test_one_text_of_a_batch_refuses_all_of_it(strict, client):
    answer = client.post(f"{strict.url}/api/v1/image/batch-generate", json={"texts": ["a mug", "a gun"]})

    assert (answer.status_code, answer.json()["message"]) == (422, "texts.1: has the blocked word 'gun'")


def test_the_official_client_is_told_of_the_policy(strict, key):
    with (
        openai.OpenAI(base_url=f"{strict.url}/v1", api_key=key, max_retries=0) as official,
        pytest.raises(openai.BadRequestError) as refused,
    ):
        official.images.generate(prompt="g-u-n", model="tiny")
    assert refused.value.code == "content_policy_violation"


def test_grpc_refuses_it_too(strict, key):
    server = start_grpc(strict.service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        request = pb2.SubmitTaskRequest(task_id="order-1", api_key=key, text="a ＧＵＮ")
        answer = SchedulerServiceStub(channel).SubmitTask(request)
    server.stop(0)
    assert (answer.code, answer.message) == (422, "text: has the blocked word 'gun'")

import json
import threading

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from resources.outbound import DeliveryRefusedError, TransferError, UrlRefusedError
from tests.support.web_server import raw, redirect, reply, running_web_server
from tests.support.webhook_secret import new_secret

EVENT = {"type": "task.success", "data": {"task_id": "img_1", "text": "一只猫"}}


@pytest.fixture
def web():
    with running_web_server({"/hook": reply(204)}) as server:
        yield server


def test_a_receiver_can_verify_where_a_callback_comes_from(web, client):
    secret = new_secret()

    client(web.netloc).post_signed(f"{web.url}/hook", "evt_1", EVENT, secret)

    (call,) = web.calls
    assert (call.method, call.headers["content-type"]) == ("POST", "application/json")
    assert call.headers["webhook-id"] == "evt_1"
    assert Webhook(secret).verify(call.body, call.headers) == EVENT == json.loads(call.body)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(call.body + b" ", call.headers)


@pytest.mark.parametrize(("retry_after", "seconds"), [("7", 7), ("999999999", 86_400), ("Wed, 21 Oct 2026", None)])
def test_an_answer_other_than_success_is_an_error_with_its_status_and_wait(web, client, retry_after, seconds):
    web.answers["/hook"] = reply(503, b"internal detail", retry_after=retry_after)

    with pytest.raises(DeliveryRefusedError) as refused:
        client(web.netloc).post_signed(f"{web.url}/hook", "evt_1", EVENT, new_secret())

    assert (refused.value.status, refused.value.retry_after_s) == (503, seconds)
    assert str(refused.value) == f"{web.url} answered HTTP 503; a receiver accepts a callback with 200 to 299."


def test_a_redirect_is_not_followed(web, client):
    web.answers["/hook"] = redirect("/other", 307)

    with pytest.raises(DeliveryRefusedError, match="HTTP 307"):
        client(web.netloc).post_signed(f"{web.url}/hook", "evt_1", EVENT, new_secret())

    assert [call.path for call in web.calls] == ["/hook"]


def test_a_private_receiver_gets_nothing(web, client):
    with pytest.raises(UrlRefusedError):
        client().post_signed(f"{web.url}/hook", "evt_1", EVENT, new_secret())

    assert web.calls == []


def test_a_receiver_is_not_waited_for_beyond_the_time_limit(web, client):
    over = threading.Event()
    web.answers["/hook"] = raw(b"HTTP/1.1 200 OK\r\n", *[b"x"] * 1_000, pause=lambda: over.wait(0.02))

    with pytest.raises(TransferError, match="not finished after 0.3 s"):
        client(web.netloc, callbacks={"timeout_s": 0.3}).post_signed(f"{web.url}/hook", "evt_1", EVENT, new_secret())

    over.set()


def test_the_body_of_an_answer_is_not_read(web, client):
    web.answers["/hook"] = reply(200, b"x", content_length="999999999999")

    client(web.netloc).post_signed(f"{web.url}/hook", "evt_1", EVENT, new_secret())

    assert len(web.calls) == 1

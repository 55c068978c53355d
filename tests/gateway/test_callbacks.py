import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from standardwebhooks import Webhook

from configs.settings import Settings
from gateway.callback_secret import callback_secret
from gateway.callbacks import DELIVERIES, CallbackDeliverer
from gateway.errors import ServiceError
from resources.accounts import Scope
from resources.outbound import DeliveryRefusedError, TransferError
from resources.queue.redis_server import PrivateRedis
from tests.support.open_gateway import close, end_tasks, new_service
from tests.support.waiting import wait_until
from tests.support.web_server import reply, running_web_server

WAIT_S = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home, and so one private Redis, for all tests."""
    folder = tmp_path_factory.mktemp("home")
    keeper = new_service(folder)
    keeper.queue.check()
    yield folder
    close(keeper)


@pytest.fixture
def web():
    with running_web_server({"/hook": reply(204)}) as server:
        yield server


@pytest.fixture
def open_service(home):
    """Opens services with an empty queue: settings of callbacks by name."""
    opened = []

    def make(**callbacks):
        quick = {"first_retry_s": 0.05, "timeout_s": WAIT_S} | callbacks
        service = new_service(home, callbacks=quick, gateway={"allow_private_hosts": ("127.0.0.1",)})
        opened.append(service)
        return service

    yield make
    for service in opened:
        close(service)


@contextmanager
def delivering(service):
    """A deliverer at work until the block ends."""
    deliverer = CallbackDeliverer(service)
    deliverer.start()
    try:
        yield deliverer
    finally:
        deliverer.stop()


def submit(service, url, user="ann", **fields):
    account = service.authenticate(service.accounts.create(user), Scope.SUBMIT)
    return service.submit(account, {"text": "a cat", "callback_url": url, **fields})


def delivered(outcome):
    return DELIVERIES.labels(outcome)._value.get()


def test_a_callback_brings_what_the_query_call_shows_and_its_sender_can_be_verified(open_service, web):
    service = open_service()
    task = submit(service, f"{web.url}/hook")
    end_tasks(service.queue)
    before = delivered("delivered")

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    (call,) = web.calls
    event = Webhook(callback_secret(service.settings)).verify(call.body, call.headers)
    assert event["type"] == "task.success"
    assert event["data"]["task_id"] == task.id
    assert event["data"]["status"] == "success"
    original = event["data"]["result"]["original_url"]
    assert original.startswith(f"https://pictures.example/api/v1/image/file/{task.id}/original?token=")
    assert event["data"]["result"]["resolution"] == "512×512"
    assert delivered("delivered") == before + 1


def test_a_failed_task_calls_back_with_the_reason_and_a_cancelled_one_too(open_service, web):
    service = open_service()
    submit(service, f"{web.url}/hook")
    end_tasks(service.queue, error="no such LoRA.")
    service.queue.cancel(submit(service, f"{web.url}/hook").id)

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    events = sorted((json.loads(call.body) for call in web.calls), key=lambda event: event["type"])
    assert [event["type"] for event in events] == ["task.cancelled", "task.failed"]
    assert events[1]["data"]["error_msg"] == "no such LoRA."


def test_a_batch_calls_back_once_when_all_of_it_has_ended(open_service, web):
    service = open_service()
    account = service.authenticate(service.accounts.create("ann"), Scope.SUBMIT)
    batch = service.submit_batch(account, {"texts": ["a", "b", "c"], "callback_url": f"{web.url}/hook"})
    with delivering(service):
        end_tasks(service.queue, 2)
        assert service.queue.callbacks_waiting() == 0
        end_tasks(service.queue, 1, error="no")
        wait_until(lambda: web.calls and service.queue.callbacks_waiting() == 0)

    (call,) = web.calls
    event = json.loads(call.body)
    assert event["type"] == "batch.ended"
    data = event["data"]
    assert (data["batch_task_id"], data["total"]) == (batch.id, 3)
    assert (data["success_count"], data["failed_count"], data["progress"]) == (2, 1, 100)
    assert [task["task_id"] for task in data["tasks"]] == list(batch.task_ids)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([], ["batch.ended"]),
        (["batch.ended"], ["batch.ended"]),
        (["task.failed"], ["task.failed"]),
        (["task.success", "batch.ended"], ["batch.ended", "task.success", "task.success"]),
    ],
)
def test_a_batch_tells_of_what_its_caller_chose(open_service, web, events, told):
    service = open_service()
    account = service.authenticate(service.accounts.create("ann"), Scope.SUBMIT)
    body = {"texts": ["a", "b", "c"], "callback_url": f"{web.url}/hook", "metadata": {"order": "7"}}
    service.submit_batch(account, {**body, "callback_events": events})
    end_tasks(service.queue, 2)
    end_tasks(service.queue, 1, error="no")
    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    heard = [json.loads(call.body) for call in web.calls]
    assert sorted(event["type"] for event in heard) == told
    for event in heard:
        for task in event["data"].get("tasks", [event["data"]]):
            assert task["metadata"] == {"order": "7"}


def test_a_task_tells_of_what_its_caller_chose(open_service, web):
    service = open_service()
    failing = submit(service, f"{web.url}/hook", callback_events=["task.failed"])
    end_tasks(service.queue, error="no")
    submit(service, f"{web.url}/hook", callback_events=["task.failed", "task.cancelled"])
    end_tasks(service.queue)
    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    assert [json.loads(call.body)["data"]["task_id"] for call in web.calls] == [failing.id]
    with pytest.raises(ServiceError, match=r"callback_events: batch\.ended tells of a batch"):
        submit(service, f"{web.url}/hook", callback_events=["batch.ended"])


def test_a_receiver_that_fails_is_asked_again_with_the_same_id_and_content(open_service, web, caplog):
    service = open_service()
    answers = iter([reply(500), reply(503, retry_after="0"), reply(302, location="/"), reply(204)])
    web.answers["/hook"] = lambda handler: next(answers)(handler)
    submit(service, f"{web.url}/hook")
    end_tasks(service.queue)

    with delivering(service):
        wait_until(lambda: len(web.calls) == 4 and service.queue.callbacks_waiting() == 0)

    assert len({(call.headers["webhook-id"], call.body) for call in web.calls}) == 1
    assert [record.levelname for record in caplog.records if record.name == "gateway.callbacks"] == ["WARNING"] * 3


def test_the_pauses_grow_and_a_receiver_may_ask_for_longer_ones(open_service):
    service = open_service(first_retry_s=4, max_retry_s=100)
    deliverer = CallbackDeliverer(service)
    for attempt, base in ((1, 4), (2, 8), (3, 16)):
        waits = [deliverer._wait_s(attempt, TransferError("")) for _ in range(50)]
        assert all(0.75 * base <= wait_s <= 1.25 * base for wait_s in waits)
        assert max(waits) - min(waits) > 0.1 * base
    assert deliverer._wait_s(1000, TransferError("")) == 100
    assert deliverer._wait_s(1, DeliveryRefusedError("", 503, 60)) == 60
    assert deliverer._wait_s(1, DeliveryRefusedError("", 503, 6000)) == 100


def test_a_callback_is_given_up_after_its_tries(open_service, web, caplog):
    service = open_service(max_attempts=3)
    web.answers["/hook"] = reply(500)
    task = submit(service, f"{web.url}/hook")
    end_tasks(service.queue)
    before = delivered("given_up"), delivered("retried")

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    assert len(web.calls) == 3
    assert (delivered("given_up"), delivered("retried")) == (before[0] + 1, before[1] + 2)
    assert f"callback of {task.id} given up after try 3 of 3: {web.url} answered HTTP 500" in caplog.text


def test_a_receiver_that_is_gone_is_asked_once(open_service, web):
    service = open_service()
    web.answers["/hook"] = reply(410)
    submit(service, f"{web.url}/hook")
    end_tasks(service.queue)

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    assert len(web.calls) == 1


def test_a_receiver_whose_name_leads_inside_is_given_up_at_once(home, caplog, monkeypatch):
    service = new_service(home)
    submit(service, "http://hook.example:8000/hook")
    end_tasks(service.queue)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 8000))])

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)
    close(service)

    assert "given up after try 1" in caplog.text
    assert "host 'hook.example' is not on the public internet" in caplog.text


def test_what_is_due_survives_a_restart_of_the_gateway(open_service, web):
    service = open_service()
    web.answers["/hook"] = reply(500)
    submit(service, f"{web.url}/hook")
    end_tasks(service.queue)
    with delivering(service):
        wait_until(lambda: web.calls)
    web.answers["/hook"] = reply(200)

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    assert len({call.headers["webhook-id"] for call in web.calls}) == 1


DELIVER = """
import sys, time
from configs.settings import Settings
from gateway.callbacks import CallbackDeliverer
from gateway.main import open_service
service = open_service(Settings.model_validate_json(sys.argv[1]))
CallbackDeliverer(service).start()
time.sleep(60)
"""


def test_a_callback_whose_gateway_is_killed_before_it_is_noted_is_delivered_again_with_the_same_id(open_service, web):
    service = open_service(timeout_s=1)
    submit(service, f"{web.url}/hook")
    end_tasks(service.queue)
    process = subprocess.Popen([sys.executable, "-c", DELIVER, service.settings.model_dump_json()])

    def kill_the_sender(handler):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        reply(204)(handler)

    web.answers["/hook"] = kill_the_sender
    try:
        assert process.wait(WAIT_S) == -signal.SIGKILL
    finally:
        process.kill()
    assert service.queue.callbacks_waiting() == 1
    web.answers["/hook"] = reply(204)

    with delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    assert len(web.calls) > 1
    assert len({(call.headers["webhook-id"], call.body) for call in web.calls}) == 1


def test_several_gateways_deliver_each_callback_once(open_service, web):
    service = open_service()
    for _ in range(30):
        submit(service, f"{web.url}/hook")
    end_tasks(service.queue, 30)

    with delivering(service), delivering(service), delivering(service):
        wait_until(lambda: service.queue.callbacks_waiting() == 0)

    assert len(web.calls) == 30
    assert len({call.headers["webhook-id"] for call in web.calls}) == 30


def test_slow_receivers_of_one_user_do_not_hold_up_those_of_another(open_service, web):
    service = open_service(workers=4)
    over = threading.Event()
    web.answers["/slow"] = lambda handler: over.wait(WAIT_S)
    for _ in range(20):
        submit(service, f"{web.url}/slow", user="slow")
    end_tasks(service.queue, 20)

    with delivering(service):
        wait_until(lambda: web.calls)
        submit(service, f"{web.url}/hook", user="quick")
        end_tasks(service.queue)
        wait_until(lambda: any(call.path == "/hook" for call in web.calls))
        assert [call.path for call in web.calls].count("/slow") == 1
        over.set()


def test_an_outage_of_redis_is_waited_out(home, tmp_path, web, caplog):
    redis = PrivateRedis(tmp_path / "redis")
    service = new_service(home, queue={"url": redis.start()}, gateway={"allow_private_hosts": (web.netloc,)})
    submit(service, f"{web.url}/hook")
    end_tasks(service.queue)
    redis.stop()

    with delivering(service):
        wait_until(lambda: "callbacks wait: Redis at" in caplog.text)
        assert web.calls == []
        redis.start()
        wait_until(lambda: web.calls and service.queue.callbacks_waiting() == 0)

    assert len(web.calls) == 1
    assert caplog.text.count("callbacks wait") == 1
    close(service)
    redis.release()


def test_the_secret_is_the_configured_one_or_made_once_for_this_user_alone(tmp_path):
    settings = Settings(home=tmp_path)

    made = callback_secret(settings)

    assert made.startswith("whsec_")
    assert callback_secret(Settings(home=tmp_path)) == made
    assert (tmp_path / "gateway" / "callback_secret").stat().st_mode & 0o777 == 0o600
    given = "whsec_" + "A" * 32
    assert callback_secret(Settings(home=tmp_path, callbacks={"secret": given})) == given

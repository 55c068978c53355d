"""The alert of failed runs, with real runs on a real instance and a receiver that checks signatures."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from dagster import StaticPartitionsDefinition, build_sensor_context, job, op
from standardwebhooks import Webhook

import resources.sqlite_storage  # noqa: F401 Dagster's own storage takes no path with % or ?
from foundation.errors import ImageGenXError
from resources.settings_resource import SettingsResource
from sensors.run_failure import MOST_PER_TICK, MOST_TRIES, REFUSED_TRIES, run_failure_alert
from tests.support.dagster_instances import local_instance
from tests.support.webhook_secret import new_secret

SECRET = new_secret()


@op
def break_down():
    try:
        raise OSError("redis://default:5ec2e7@cache:6379 is gone")
    except OSError as exc:
        raise ImageGenXError("the shelf fell down") from exc


@job(partitions_def=StaticPartitionsDefinition(["spring"]))
def fragile():
    break_down()


class Receiver:
    """An HTTP server on a free port that keeps what it is sent and answers with `status`."""

    def __init__(self):
        self.status = 204
        self.refuse = lambda body: self.status
        self.received = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((dict(self.headers), body))
                self.send_response(receiver.refuse(body))
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    @contextmanager
    def serving(self):
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@pytest.fixture
def receiver():
    with Receiver().serving() as receiver:
        yield receiver


@pytest.fixture
def instance(tmp_path):
    with local_instance(tmp_path) as instance:
        yield instance


@pytest.fixture
def alerts_on(monkeypatch, receiver):
    monkeypatch.setenv("IMAGEGENX_ALERTS__WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("IMAGEGENX_ALERTS__SECRET", SECRET)
    monkeypatch.setenv("IMAGEGENX_ALERTS__UI_URL", "https://dagster.example.com/")


def fail(instance):
    return fragile.execute_in_process(instance=instance, partition_key="spring", raise_on_error=False).run_id


def told_runs(receiver):
    """The runs whose alerts came, in order, taken or not."""
    return [json.loads(body)["data"]["run_id"] for _, body in receiver.received]


def tick(instance, cursor):
    """One evaluation by the daemon: the cursor it leaves, and what it says."""
    context = build_sensor_context(instance=instance, cursor=cursor)
    result = run_failure_alert(context, settings=SettingsResource())
    return result.cursor, result.skip_reason.skip_message


def test_a_failed_run_is_told_once_signed_with_its_error_and_link(instance, receiver, alerts_on):
    fail(instance)
    cursor, said = tick(instance, None)
    assert (said, receiver.received) == ("Watching from now on.", [])

    run_id = fail(instance)
    cursor, _ = tick(instance, cursor)
    cursor, said = tick(instance, cursor)

    assert said == "No run has failed."
    ((headers, body),) = receiver.received
    told = Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert told == json.loads(body)
    assert headers["webhook-id"] == f"alert_{run_id}"
    assert told["type"] == "run.failed"
    assert told["data"] == {
        "run_id": run_id,
        "job": "fragile",
        "partitions": ["spring"],
        "error": "break_down: foundation.errors.ImageGenXError: the shelf fell down"
        " (from OSError: redis://default:***@cache:6379 is gone)",
        "will_retry": False,
        "url": f"https://dagster.example.com/runs/{run_id}",
    }


def test_what_a_receiver_refuses_is_told_again_with_the_same_id(instance, receiver, alerts_on):
    cursor, _ = tick(instance, "0")
    run_id = fail(instance)
    receiver.status = 503
    refused, said = tick(instance, cursor)
    assert said.startswith(f"Alert of run {run_id}: ")
    assert "answered HTTP 503; " in said
    assert said.endswith(" It will be tried again.")
    assert refused == f"{cursor} 1"

    receiver.status = 200
    accepted, _ = tick(instance, refused)
    assert int(accepted) > int(cursor)
    assert [headers["webhook-id"] for headers, _ in receiver.received] == [f"alert_{run_id}"] * 2


def refuse(receiver, run_id, status):
    """Let the receiver answer so to the alert of one run."""
    receiver.refuse = lambda body: status if json.loads(body)["data"]["run_id"] == run_id else 204


def test_an_alert_that_is_refused_for_good_is_given_up_and_those_after_it_are_told(instance, receiver, alerts_on):
    refused, later = fail(instance), fail(instance)
    refuse(receiver, refused, 422)
    cursor = "0"
    for _ in range(REFUSED_TRIES - 1):
        cursor, said = tick(instance, cursor)
        assert said.endswith(" It will be tried again.")
    assert told_runs(receiver) == [refused] * (REFUSED_TRIES - 1)

    cursor, said = tick(instance, cursor)

    assert said.startswith(f"Alert of run {refused}: ")
    assert said.endswith(f" It is given up after {REFUSED_TRIES} tries.")
    assert told_runs(receiver)[-2:] == [refused, later]
    assert tick(instance, cursor) == (cursor, "No run has failed.")


@pytest.mark.parametrize("status", [429, 500])
def test_what_may_pass_is_tried_for_longer(instance, receiver, alerts_on, status):
    run_id = fail(instance)
    refuse(receiver, run_id, status)
    before = int(tick(instance, None)[0]) - 1

    _, said = tick(instance, f"{before} {REFUSED_TRIES}")
    assert said.endswith(" It will be tried again.")

    _, said = tick(instance, f"{before} {MOST_TRIES - 1}")
    assert said.endswith(f" It is given up after {MOST_TRIES} tries.")


def test_many_failures_are_told_in_order_over_several_ticks(instance, receiver, alerts_on):
    runs = [instance.create_run_for_job(fragile) for _ in range(MOST_PER_TICK + 2)]
    for run in runs:
        instance.report_run_failed(run)
    cursor, _ = tick(instance, "0")
    assert len(receiver.received) == MOST_PER_TICK
    tick(instance, cursor)
    assert [json.loads(body)["data"]["run_id"] for _, body in receiver.received] == [run.run_id for run in runs]


def test_nothing_is_told_while_no_url_is_set(instance, receiver, monkeypatch):
    monkeypatch.delenv("IMAGEGENX_ALERTS__WEBHOOK_URL", raising=False)
    fail(instance)
    assert tick(instance, "0") == ("", "alerts.webhook_url is not set.")
    assert receiver.received == []


def test_a_cursor_that_cannot_be_read_begins_anew(instance, receiver, alerts_on):
    fail(instance)
    cursor, said = tick(instance, "what a person wrote")
    assert said == "Watching from now on."
    later = fail(instance)
    tick(instance, cursor)
    assert told_runs(receiver) == [later]


def test_a_run_whose_process_died_is_told_with_what_dagster_knows(instance, receiver, alerts_on):
    run = instance.create_run_for_job(fragile)
    instance.report_run_failed(run, "The process of this run was killed.")
    tick(instance, "0")
    ((_, body),) = receiver.received
    assert json.loads(body)["data"]["error"] == "The process of this run was killed."
    assert json.loads(body)["data"]["partitions"] == []


def test_a_url_without_a_secret_is_refused(monkeypatch):
    monkeypatch.setenv("IMAGEGENX_ALERTS__WEBHOOK_URL", "https://ops.example.com/alerts")
    with pytest.raises(
        ImageGenXError, match="webhook_url also needs secret; set the variable IMAGEGENX_ALERTS__SECRET"
    ):
        SettingsResource().current  # noqa: B018

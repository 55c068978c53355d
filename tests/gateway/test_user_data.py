"""Deleting everything of a user."""

import httpx
from typer.testing import CliRunner

from imagegenx_cli.main import app
from resources.mark_records import MarkRecord, keep_record
from resources.object_store import StoreUnavailableError
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
MUG = {"text": "a mug", "params": {"resolution": "96×96", "steps": 2, "num_images": 2}}


def made(client: httpx.Client) -> dict:
    path = client.post(GENERATE, json=MUG).json()["data"]["query_url"]
    wait_until(lambda: client.get(path).json()["data"]["status"] == "success")
    return client.get(path).json()["data"]


def keys(service) -> set[str]:
    return {stored.key for stored in service.store.list() if not stored.key.startswith("usage/")}


def test_all_of_ones_own_goes_and_nothing_of_others(client, stranger, service, painter) -> None:
    before = keys(service)
    other, remembered, forgotten = made(stranger), made(client), made(client)
    for task, name in ((forgotten, "01"), (other, "02")):
        record = MarkRecord(identifier=f"{name}0000000000", produce_id="p", key="k", owner="somebody")
        keep_record(service.store, record, f"{task['task_id']}~1")
    others = {key for key in keys(service) - before if other["task_id"] in key}
    # Its record has expired: only the ledger knows whose it was.
    service.queue._link.client.delete(f"{service.queue._link.prefix}task:{forgotten['task_id']}")
    answer = client.delete("/api/v1/image/tasks").json()
    assert (answer["code"], answer["data"]) == (200, {"tasks": 1, "pictures": 4, "left": 0})
    assert client.get("/api/v1/image/tasks").json()["data"]["tasks"] == []
    assert client.get(f"/api/v1/image/task/{remembered['task_id']}").status_code == 404
    assert httpx.get(forgotten["result"]["original_url"]).status_code == 404
    assert keys(service) - before == others
    assert httpx.get(other["result"]["original_url"]).status_code == 200
    assert client.get("/api/v1/usage").json()["data"]["day"]["pictures"] == 4, "what was used stays used"


def test_what_waits_is_cancelled_and_forgotten(client, service, user) -> None:
    for _ in range(3):
        client.post(GENERATE, json=MUG)
    assert client.delete("/api/v1/image/tasks").json()["data"] == {"tasks": 3, "pictures": 0, "left": 0}
    assert service.queue.used(user).open == 0


def test_the_operator_deletes_a_user_with_the_keys(client, service, settings, user, painter, monkeypatch) -> None:
    task = made(client)
    monkeypatch.setattr("imagegenx_cli.user.load_settings", lambda: settings)
    shown = CliRunner().invoke(app, ["user", "delete", user])
    assert shown.output.strip() == f"user {user}: 1 keys revoked, 1 tasks and 2 pictures deleted"
    assert client.get("/api/v1/usage").status_code == 403
    assert httpx.get(task["result"]["original_url"]).status_code == 404
    events = [one for one in service.audit.read() if one["event"] == "user.deleted" and one["user_id"] == user]
    assert [(one["state"], one.get("tasks"), one.get("pictures")) for one in events] == [
        ("begun", None, None),
        ("done", 1, 2),
    ]
    key = client.headers["X-API-Key"][:12]
    assert [one["key"] for one in service.audit.read() if one["event"] == "key.revoked"] == [key]


def test_what_was_deleted_before_an_outage_is_in_the_audit_log(client, service, user, painter, monkeypatch) -> None:
    task, other = made(client), made(client)
    delete, deleted = service.store.delete, []

    def failing(key: str) -> None:
        if len(deleted) == 5:
            raise StoreUnavailableError("no answer in time.")
        delete(key)
        deleted.append(key)

    monkeypatch.setattr(service.store, "delete", failing)
    assert client.delete("/api/v1/image/tasks").status_code == 503
    assert client.delete(f"/api/v1/image/picture/{task['task_id']}").status_code == 503
    told = [one for one in service.audit.read() if one["who"] == user]
    assert [(one["event"], one.get("state"), one.get("pictures"), one.get("task")) for one in told] == [
        ("user.deleted", "begun", None, None),
        ("user.deleted", "broken off", 2, None),
        ("picture.deleted", None, None, task["task_id"]),
    ]
    assert other["status"] == "success"

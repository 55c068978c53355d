"""What a key's scopes let it do, on every face; what is refused is in the audit log."""

import grpc
import pytest

from gateway.grpc_server import start_grpc
from gateway.stubs import imagegenx_pb2 as pb2
from tests.support.scheduler_stub import SchedulerServiceStub

BODY = {"text": "a red mug"}
CALLS = {
    "generate": ("POST", "/api/v1/image/generate", {"submit"}),
    "batch": ("POST", "/api/v1/image/batch-generate", {"submit"}),
    "verify": ("POST", "/api/v1/verify", {"read"}),
    "cancel": ("DELETE", "/api/v1/image/task/img_0", {"submit"}),
    "delete": ("DELETE", "/api/v1/image/picture/img_0", {"submit"}),
    "generations": ("POST", "/v1/images/generations", {"submit"}),
    "edits": ("POST", "/v1/images/edits", {"submit"}),
    "task": ("GET", "/api/v1/image/task/img_0", {"read"}),
    "events": ("GET", "/api/v1/image/task/img_0/events", {"read"}),
    "batch task": ("GET", "/api/v1/image/batch-task/batch_0", {"read"}),
    "cancel batch": ("DELETE", "/api/v1/image/batch-task/batch_0", {"submit"}),
    "batch events": ("GET", "/api/v1/image/batch-task/batch_0/events", {"read"}),
    "tasks": ("GET", "/api/v1/image/tasks", {"read"}),
    "delete all": ("DELETE", "/api/v1/image/tasks", {"submit"}),
    "usage": ("GET", "/api/v1/usage", {"read", "submit"}),
    "models": ("GET", "/api/v1/models", {"read", "submit"}),
    "OpenAI models": ("GET", "/v1/models", {"read", "submit"}),
    "OpenAI model": ("GET", "/v1/models/tiny", {"read", "submit"}),
    "catalogs": ("GET", "/api/v1/catalogs", {"review"}),
    "catalog": ("GET", "/api/v1/catalogs/mugs", {"review"}),
    "catalog state": ("GET", "/api/v1/catalogs/mugs/state", {"review"}),
    "catalog versions": ("GET", "/api/v1/catalogs/mugs/versions", {"review"}),
    "catalog picture": ("GET", "/api/v1/catalogs/mugs/picture/00", {"review"}),
    "verdicts": ("POST", "/api/v1/catalogs/mugs/verdicts", {"review"}),
    "edit prompts": ("POST", "/api/v1/catalogs/mugs/edit", {"review"}),
    "reseed": ("POST", "/api/v1/catalogs/mugs/reseed", {"review"}),
    "roll back": ("POST", "/api/v1/catalogs/mugs/roll-back", {"review"}),
}


@pytest.mark.parametrize("scope", ["submit", "read", "operate", "review"])
def test_http_answers_403_with_the_missing_scope(gateway, service, client, user, scope):
    headers = {"X-API-Key": service.accounts.create(user, scopes=[scope])}
    for name, (method, path, scopes) in CALLS.items():
        answer = client.request(method, path, headers=headers, json={} if method == "POST" else None)
        refused = "has not the scope" in answer.text
        assert refused is (scope not in scopes), (name, answer.text)
        assert (answer.status_code in (401, 403)) is refused, name  # OpenAI's clients know a 401


def test_every_call_of_the_api_is_in_this_table(client):
    listed = client.get("/openapi.json").json()["paths"]
    free = ("/health", "/livez", "/readyz", "/api/v1/image/file")
    paths = {path for path in listed if not path.startswith(free)}
    ids = {"{task_id}": "img_0", "{batch_task_id}": "batch_0", "{model}": "tiny", "{name}": "mugs", "{recipe}": "00"}
    tried = {path for _, path, _ in CALLS.values()}
    for path in paths:
        for name, value in ids.items():
            path = path.replace(name, value)
        assert path in tried


@pytest.mark.parametrize("scope", ["submit", "read", "operate"])
def test_grpc_answers_403_with_the_missing_scope(service, user, scope):
    key = service.accounts.create(user, scopes=[scope])
    server = start_grpc(service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = SchedulerServiceStub(channel)
        submitted = stub.SubmitTask(pb2.SubmitTaskRequest(task_id=f"{user}-{scope}", api_key=key, text="a mug"))
        asked = stub.QueryTask(pb2.QueryTaskRequest(task_id="nobody-s", api_key=key))
        loads = stub.QueryGPULoad(pb2.QueryGPULoadRequest(api_key=key))
    server.stop(0)
    codes = {"submit": (200, 403, 403), "read": (403, 404, 200), "operate": (403, 403, 200)}
    assert (submitted.code, asked.code, loads.code) == codes[scope]


def test_keys_without_scopes_keep_all_of_a_user_s(service, client, user):
    key = service.accounts.create(user)
    assert service.accounts.authenticate(key).scopes == ("submit", "read")


def test_refused_logins_are_in_the_audit_log_once_and_without_the_key(gateway, service, client):
    for _ in range(20):
        client.get("/api/v1/models", headers={"X-API-Key": "igx_" + "a" * 43})
        client.get("/api/v1/models", headers={"X-API-Key": ""})
    events = [event for event in service.audit.read() if event["event"] == "login.refused"]
    assert [event["who"] for event in events if event["reason"] == "unknown key"] == ["127.0.0.1"]
    assert [event["who"] for event in events if event["reason"] == "no key"] == ["127.0.0.1"]
    assert "aaaa" not in str(events)

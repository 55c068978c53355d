"""What a user has used, and what is refused beyond a budget."""

import json
import uuid
from contextlib import ExitStack

import httpx
import pytest
from typer.testing import CliRunner

from configs.usage_settings import Budget, UsageSettings
from gateway.main import open_service
from imagegenx_cli.main import app
from resources.usage_ledger import UsageLedger
from tests.support.painter import Painter
from tests.support.running_gateway import running_gateway
from tests.support.waiting import wait_until

GENERATE = "/api/v1/image/generate"
MUG = {"text": "a mug", "params": {"resolution": "96×96", "steps": 2}}


@pytest.fixture(scope="module")
def budgeted(settings):
    """A gateway whose free users have budgets, and paid ones have not."""
    budget = Budget(pictures_per_day=3, gpu_s_per_month=1000, soft_share=0.5)
    usage = UsageSettings(price_per_gpu_s=0.5, currency="EUR", assumed_gpu_s=400, budgets={"free": budget})
    queue = settings.queue.model_copy(update={"namespace": f"test-{uuid.uuid4().hex[:12]}"})
    service = open_service(settings.model_copy(update={"usage": usage, "queue": queue}))
    with running_gateway(service) as gateway:
        yield service, gateway.url
    service.queue.close()


@pytest.fixture
def caller(budgeted):
    service, url = budgeted
    with ExitStack() as clients:

        def new(user="", role="free"):
            key = service.accounts.create(user or f"ada-{uuid.uuid4().hex[:8]}", role)
            return clients.enter_context(httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60))

        yield new


def usage(client):
    return client.get("/api/v1/usage").json()["data"]


def test_a_user_sees_what_was_used_and_what_it_costs(caller, budgeted) -> None:
    client, service = caller(role="paid"), budgeted[0]
    client.post(GENERATE, json={**MUG, "params": {**MUG["params"], "num_images": 2}})
    assert usage(client)["open_pictures"] == 2
    with Painter(service.queue, service.store):
        wait_until(lambda: usage(client)["open_pictures"] == 0)
    seen = usage(client)
    assert (seen["day"]["pictures"], seen["month"]["pictures"], seen["limits"]) == (2, 2, [])
    assert seen["day"]["bytes"] > 0
    assert seen["day"]["cost"] == pytest.approx(seen["day"]["gpu_s"] * 0.5)
    assert seen["currency"] == "EUR"


def test_beyond_the_pictures_of_a_budget_nothing_is_queued(caller) -> None:
    client = caller()
    batch = {"texts": ["a"] * 4, "params": MUG["params"]}
    refused = client.post("/api/v1/image/batch-generate", json=batch)
    assert refused.status_code == 429
    assert "This would take 4 pictures, but of the 3 of this day 3 are left." in refused.json()["message"]
    assert refused.headers["ratelimit-policy"] == '"pictures_per_day";q=3;w=86400'
    assert refused.headers["ratelimit"].startswith('"pictures_per_day";r=3;t=')
    assert int(refused.headers["retry-after"]) > 0
    assert client.get("/api/v1/image/tasks").json()["data"]["tasks"] == []
    assert usage(client)["open_pictures"] == 0


def test_gpu_seconds_are_kept_before_they_are_spent(caller) -> None:
    """A picture is taken for 400 s here: a third one would be beyond 1,000 s."""
    client = caller()
    assert [client.post(GENERATE, json=MUG).status_code for _ in range(3)] == [200, 200, 402]
    (pictures, seconds) = usage(client)["limits"]
    assert (pictures["name"], pictures["asked"], pictures["left"], pictures["soft_reached"]) == (
        "pictures_per_day",
        2,
        1,
        True,
    )
    assert (seconds["name"], seconds["asked"], seconds["left"]) == ("gpu_s_per_month", 800, 200)
    task = client.get("/api/v1/image/tasks").json()["data"]["tasks"][0]["task_id"]
    client.delete(f"/api/v1/image/task/{task}")
    assert client.post(GENERATE, json=MUG).status_code == 200, "what is cancelled is not asked for any more"


def test_the_openai_form_refuses_beyond_a_budget_too(caller) -> None:
    client = caller()
    refused = client.post("/v1/images/generations", json={"prompt": "a", "n": 9})
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")


def test_the_operator_sees_all_users_from_the_ledger(caller, budgeted, monkeypatch) -> None:
    service = budgeted[0]
    user = f"zoe-{uuid.uuid4().hex[:8]}"
    client = caller(user)
    client.post(GENERATE, json=MUG)
    with Painter(service.queue, service.store):
        wait_until(lambda: usage(client)["open_pictures"] == 0)
    UsageLedger(service.store, service.queue).collect()
    settings = service.settings
    monkeypatch.setattr("imagegenx_cli.usage.load_settings", lambda: settings)
    shown = json.loads(CliRunner().invoke(app, ["usage", "--by", "owner,model", "--json"]).output)
    (row,) = [row for row in shown if row["owner"] == user]
    assert (row["model"], row["tasks"], row["pictures"]) == ("tiny", 1, 1)
    table = CliRunner().invoke(app, ["usage"]).output
    assert user in table
    wrong = CliRunner().invoke(app, ["usage", "--by", "moon"])
    assert "sums can be by owner, day, model" in str(wrong.exception)


def test_a_budget_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="name a role, free or paid, or a user, like user:ada"):
        UsageSettings(budgets={"ada": Budget()})

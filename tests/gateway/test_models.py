"""The models in the API, as the workers have them."""

import pytest

from models.placement import Placement
from resources.queue import WorkerState


@pytest.fixture
def worker(service):
    """Says what it has, as a worker."""

    def say(**state: object) -> None:
        service.queue.renew(WorkerState(id="w-models", started_at_s=1.0, **state), [])

    yield say
    service.queue.worker_ended("w-models")
    service.queue._link.client.delete(*(f"{service.queue._key}{end}" for end in ("", ":unusable")))


def models(client):
    return client.get("/api/v1/models").json()["data"]


def test_models_tell_whether_they_are_loaded_and_what_they_can_do(client, worker) -> None:
    (tiny,) = [model for model in models(client)["models"] if model["name"] == "tiny"]
    assert tiny["state"] == "here"
    assert tiny["schedules"].keys() == set(tiny["samplers"])
    assert tiny["schedules"]["DDIM"] == ["leading", "trailing"]
    worker(fetching=["tiny"])
    assert {model["state"] for model in models(client)["models"] if model["name"] == "tiny"} == {"fetching"}
    worker(loaded=["tiny"])
    assert {model["state"] for model in models(client)["models"] if model["name"] == "tiny"} == {"loaded"}


def test_a_model_that_no_worker_can_run_is_not_offered_and_says_why(client, service, worker) -> None:
    service.queue.announce({}, {"tiny": "TensorRT is not installed."})
    seen = models(client)
    assert {"name": "tiny", "reason": "TensorRT is not installed."} in seen["unusable"]
    offered = {one["id"] for one in client.get("/v1/models").json()["data"]}
    assert offered == {model["name"] for model in seen["models"]}
    assert "tiny" not in offered
    assert client.get("/v1/models/tiny").status_code == 404
    service.queue.announce({"tiny": Placement("eager", "cpu", "float32")})
    assert client.get("/v1/models/tiny").status_code == 200
    assert not [one for one in models(client)["unusable"] if one["name"] == "tiny"]

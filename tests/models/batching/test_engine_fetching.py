"""The engine and models that are on a hub: they are fetched beside the work of the models at hand."""

import threading

import numpy as np
import pytest

from configs.settings import EngineSettings
from models.acceleration.building import process_builds
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.errors import FailureCause
from models.image import GeneratedImage
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.registry import ModelRegistry
from tests.support.hub_server import COMMIT, REPOSITORY, HubServer
from tests.support.listening import Waiting

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(random_models, monkeypatch):
    server = HubServer(random_models.folder / "sd")
    server.held[UNET] = threading.Event()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.held[UNET].set()
    server.stop()


@pytest.fixture
def registry(random_models, tmp_path) -> ModelRegistry:
    (tmp_path / "cards").mkdir()
    for name, source in {"near": random_models.folder / "sd", "far": REPOSITORY}.items():
        text = f"family: sd\nsource: {source}\ndtype: float32\nmin_side_px: 64\n" + (
            f"revision: {COMMIT}\n" if name == "far" else ""
        )
        (tmp_path / f"cards/{name}.yaml").write_text(text)
    return ModelRegistry.load([tmp_path / "cards"], "near", hub_folder=tmp_path / "models")


@pytest.fixture
def engine(registry) -> BatchingEngine:
    return BatchingEngine(registry, EngineSettings(device="cpu"), PipelinePool())


@pytest.fixture
def job(registry, engine):
    def make(id: str, model: str, **params) -> GenerationJob:
        data = {"text": "a red shoe", "model_type": model, "params": {"resolution": "64x64", "steps": 3, **params}}
        request = parse_request(data, registry)
        kind = engine.kind(model, request.params.resolution)
        recipe = plan_recipe(request, registry=registry, engine_kind=kind, seed=1)
        return GenerationJob(id, recipe)

    return make


def test_the_models_at_hand_go_on_while_another_is_fetched_whose_requests_wait(hub, engine, job):
    heard = Waiting()
    engine.submit(job("far", "far"), heard)
    engine.submit(job("far, larger", "far", resolution="72x64"), heard)
    heard.until(lambda: process_builds().now())

    engine.submit(job("near", "near"), heard)
    heard.wait_for(lambda: "near" in heard.results)

    (told,) = process_builds().now()
    assert told.startswith("model 'far': fetching (step 1 of 1), ")
    assert set(heard.results) == {"near"}
    assert {id for id, *_ in heard.steps} == {"near"}
    hub.held[UNET].set()
    heard.wait_for(lambda: len(heard.results) == 3)
    assert all(isinstance(result, GeneratedImage) for result in heard.results.values())
    np.testing.assert_array_equal(heard.results["far"].pixels, heard.results["near"].pixels)
    assert process_builds().now() == ()
    assert len([path for path, _ in hub.downloads() if path == UNET]) == 1
    engine.release()


def test_requests_of_a_model_that_cannot_be_fetched_fail_and_those_of_others_do_not(hub, engine, job):
    hub.held[UNET].set()
    hub.damaged.add(UNET)

    results = {result.id: result for result in engine.generate([job("far", "far"), job("near", "near")])}

    assert isinstance(results["near"], GeneratedImage)
    assert results["far"].error.startswith(f"model 'far' cannot be loaded from {REPOSITORY}: ")
    assert results["far"].cause is FailureCause.MODEL


def test_a_request_can_be_cancelled_while_its_model_is_fetched(hub, engine, job):
    heard = Waiting()
    ticket = engine.submit(job("far", "far"), heard)
    heard.until(lambda: process_builds().now())

    engine.cancel(ticket)

    heard.wait_for(lambda: heard.results)
    assert heard.results["far"].error == "cancelled"
    engine.release()
    hub.held[UNET].set()
    heard.until(lambda: not process_builds().now())

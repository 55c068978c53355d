import numpy as np
import pytest

from configs.settings import EngineSettings
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage
from models.recipe import plan_recipe
from models.request import Sampler, parse_request


@pytest.fixture
def paint(random_models, warm_pool):
    registry = random_models.registry
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), warm_pool)

    def run(model: str, told=None, **params) -> GeneratedImage | FailedImage:
        data = {"text": "a red shoe", "model_type": model, "params": {"resolution": "64x64", "steps": 3, **params}}
        recipe = plan_recipe(parse_request(data, registry), registry=registry, engine_kind="eager/cpu/float32", seed=4)
        (result,) = engine.generate([GenerationJob("1", recipe)], told)
        return result

    return run


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DDIM])
def test_a_checkpoint_run_by_its_own_pipeline_paints_what_its_family_paints(paint, sampler):
    ours = paint("any", sampler=sampler, negative_text="blur").pixels.astype(int)
    theirs = paint("small", sampler=sampler, negative_text="blur").pixels.astype(int)

    assert np.abs(ours - theirs).max() <= 1


def test_steps_are_told(paint):
    told = []

    paint("any", lambda *step: told.append(step))

    assert told == [("1", 1, 3), ("1", 2, 3), ("1", 3, 3)]

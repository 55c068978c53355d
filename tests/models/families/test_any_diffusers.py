from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FluxPipeline,
    QwenImagePipeline,
)

from configs.settings import EngineSettings
from foundation.errors import FailureCause
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.families.any_diffusers import guidance_inputs, own_sampler
from models.image import FailedImage, GeneratedImage
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Sampler
from tests.support.model_factory import build_random_flux
from tests.support.recipes import a_recipe


@pytest.fixture
def paint(random_models, warm_pool):
    return paint_with(random_models.registry, warm_pool)


def paint_with(registry, pool):
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), pool)

    def run(model: str, told=None, **params) -> GeneratedImage | FailedImage:
        data = {"text": "a red shoe", "model_type": model, "params": {"resolution": "64x64", "steps": 3, **params}}
        recipe = plan_recipe(parse_request(data, registry), registry=registry, engine_kind="eager/cpu/float32", seed=4)
        (result,) = engine.generate([GenerationJob("1", recipe)], told)
        return result

    return run


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flux")
    build_random_flux(folder / "flux")
    (folder / "flow.yaml").write_text("family: diffusers\nsource: flux\ndefault_resolution: 64×64\n", encoding="utf-8")
    return ModelRegistry.load([folder], "flow")


def test_a_flow_matching_checkpoint_keeps_its_own_solver(flux):
    pipeline = FluxPipeline.from_pretrained(flux.card("flow").path)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(4)
    theirs = pipeline("a red shoe", width=96, height=64, num_inference_steps=3, guidance_scale=7.5, generator=generator)

    ours = paint_with(flux, PipelinePool())("flow", resolution="96x64").pixels

    assert np.abs(ours.astype(int) - np.asarray(theirs.images[0])).max() <= 1


def test_a_flow_matching_checkpoint_refuses_other_solvers_and_sizes_it_does_not_make(flux):
    paint = paint_with(flux, PipelinePool())

    solver, size = paint("flow", sampler=Sampler.DDIM), paint("flow", resolution="72x64")

    assert solver.error == (
        "model 'flow' is run by its own solver, Euler, and not by DDIM. "
        "Ask for sampler Euler; its card should say so under samplers and defaults."
    )
    assert size.error == (
        "model 'flow' made 64×64 where 72×64 was asked for: its sides go in larger steps than 8 px. Ask for 64×64."
    )
    assert solver.cause is size.cause is FailureCause.MODEL


def test_a_negative_prompt_without_effect_is_refused(flux):
    assert paint_with(flux, PipelinePool())("flow", negative_text="blur").error == (
        "model 'flow' takes no negative prompt: it would have no effect. Leave it out."
    )


@pytest.mark.parametrize(
    ("embeds", "negative", "expected"),
    [
        (False, "", {"true_cfg_scale": 4.0, "negative_prompt": " "}),
        (False, "blur", {"true_cfg_scale": 4.0, "negative_prompt": "blur"}),
        (True, "", {"guidance_scale": 4.0}),
    ],
)
def test_qwen_image_gets_the_guidance_that_it_would_ignore_under_its_usual_name(embeds, negative, expected):
    class Pipeline:
        __call__ = QwenImagePipeline.__call__
        transformer = SimpleNamespace(config={"guidance_embeds": embeds})

    assert guidance_inputs(Pipeline(), a_recipe(cfg_scale=4.0, negative_text=negative)) == expected


@pytest.mark.parametrize(
    ("scheduler", "sampler"),
    [
        (EulerDiscreteScheduler(), None),
        (FlowMatchHeunDiscreteScheduler(), Sampler.HEUN),
        (DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True), Sampler.DPMPP_2M),
    ],
)
def test_a_solver_made_for_flows_goes_by_its_own_name(scheduler, sampler):
    assert own_sampler(scheduler) == sampler


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DDIM])
def test_a_checkpoint_run_by_its_own_pipeline_paints_what_its_family_paints(paint, sampler):
    ours = paint("any", sampler=sampler, negative_text="blur").pixels.astype(int)
    theirs = paint("small", sampler=sampler, negative_text="blur").pixels.astype(int)

    assert np.abs(ours - theirs).max() <= 1


def test_steps_are_told(paint):
    told = []

    paint("any", lambda *step: told.append(step))

    assert told == [("1", 1, 3), ("1", 2, 3), ("1", 3, 3)]

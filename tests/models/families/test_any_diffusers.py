import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FluxKontextPipeline,
    FluxPipeline,
    QwenImagePipeline,
)

from configs.settings import EngineSettings
from models.admission import parse_request
from models.engine import BatchingEngine, GenerationJob
from models.errors import InvalidRequestError
from models.families import loading
from models.families.any_diffusers import guidance_inputs, own_sampler, text_limit
from models.families.loading import load_failure
from models.image import FailedImage, GeneratedImage, InputPicture
from models.pipeline_pool import PipelinePool
from models.placement import choose_placement
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Priority, Sampler
from tests.support.listening import Waiting
from tests.support.model_factory import build_random_flux
from tests.support.recipes import a_recipe
from tests.support.workbench import PICTURE


@pytest.fixture
def paint(random_models, warm_pool):
    return paint_with(random_models.registry, warm_pool)


def paint_with(registry, pool):
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), pool)

    def run(model: str, told=None, text="a red shoe", **params) -> GeneratedImage | FailedImage:
        data = {"text": text, "model_type": model, "params": {"resolution": "64x64", "steps": 3, **params}}
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

    with pytest.raises(InvalidRequestError) as solver:
        paint("flow", sampler=Sampler.DDIM)
    with pytest.raises(InvalidRequestError) as schedule:
        paint("flow", schedule="trailing")
    with pytest.raises(InvalidRequestError) as size:
        paint("flow", resolution="72x64")

    assert str(solver.value) == "params.sampler: model 'flow' does not run it: 'DDIM' is not one of Euler."
    assert str(schedule.value) == "params.schedule: model 'flow' has noise levels of its own. Leave it out."
    assert str(size.value) == (
        "params.resolution: width 72, height 64 for model 'flow': both must be multiples of 16. Nearest: 64×64."
    )


def test_a_negative_prompt_without_effect_is_refused(flux):
    with pytest.raises(InvalidRequestError, match="model 'flow' takes no negative prompt: it would have no effect."):
        paint_with(flux, PipelinePool())("flow", negative_text="blur")


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
    assert own_sampler({**scheduler.config, "_class_name": type(scheduler).__name__}) == sampler


@pytest.mark.parametrize("sampler", [Sampler.EULER, Sampler.DDIM])
def test_a_checkpoint_run_by_its_own_pipeline_paints_what_its_family_paints(paint, sampler):
    ours = paint("any", sampler=sampler, negative_text="blur").pixels.astype(int)
    theirs = paint("small", sampler=sampler, negative_text="blur").pixels.astype(int)

    assert np.abs(ours - theirs).max() <= 1


def test_steps_are_told(paint):
    told = []

    paint("any", lambda *step: told.append(step))

    assert told == [("1", 1, 3), ("1", 2, 3), ("1", 3, 3)]


class Tokenizer:
    model_max_length = 77

    def __call__(self, text, **options):
        return SimpleNamespace(input_ids=text.split())


def test_a_text_that_the_pipeline_would_cut_is_told_by_its_own_limit():
    class Cutting:
        tokenizer = Tokenizer()

        def __call__(self, prompt, max_sequence_length=512): ...

    class Plain:
        tokenizer = Tokenizer()

        def __call__(self, prompt): ...

    assert (text_limit(Cutting()), text_limit(Plain())) == (512, 77)


def test_a_text_longer_than_the_encoder_reads_is_refused_and_not_cut(paint):
    assert paint("any", text="a " * 100).error == "the prompt has 102 tokens; the maximum is 77. Shorten it."


def test_an_input_picture_goes_to_the_pipeline_that_diffusers_has_for_it(random_models, warm_pool, tmp_path):
    card = f"family: diffusers\nsource: {random_models.folder}/sd\nmodes: [img2img]\ndefault_resolution: 64×64\n"
    (tmp_path / "any.yaml").write_text(card, encoding="utf-8")
    ours = edit_with(ModelRegistry.load([tmp_path], "any"), "any", warm_pool)
    theirs = edit_with(random_models.registry, "small", warm_pool)

    assert np.abs(ours.pixels.astype(int) - theirs.pixels.astype(int)).max() <= 1


def edit_with(registry, model, pool):
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), pool)
    picture = InputPicture("0" * 64, lambda: PICTURE.resize((64, 64)))
    data = {"text": "a shoe", "model_type": model, "image_url": "i", "params": {"resolution": "64x64", "steps": 4}}
    request = parse_request(data, registry)
    recipe = plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=4, image=picture)
    (result,) = engine.generate([GenerationJob("1", recipe, image=picture)])
    assert isinstance(result, GeneratedImage), result.error
    return result


def test_interactive_requests_of_other_models_go_between_the_steps_of_a_run(random_models, warm_pool):
    registry = random_models.registry
    engine = BatchingEngine(registry, EngineSettings(device="cpu", max_warm_models=8), warm_pool)

    def job(id, model, steps):
        data = {"text": "a shoe", "model_type": model, "params": {"resolution": "64x64", "steps": steps}}
        request = parse_request(data, registry)
        return GenerationJob(id, plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=4))

    heard = Waiting()
    long = engine.submit(job("long", "any", 200), heard, Priority.BULK)
    heard.wait_for(lambda: heard.steps)
    engine.submit(job("short", "small", 2), heard)
    heard.wait_for(lambda: "short" in heard.results)
    done = len([step for step in heard.steps if step[0] == "long"])
    engine.cancel(long)
    heard.wait_for(lambda: "long" in heard.results)

    assert isinstance(heard.results["short"], GeneratedImage)
    assert heard.results["long"].error == "cancelled"
    assert done < 200
    engine.release()


@pytest.mark.parametrize(
    ("told", "package"),
    [
        ("T5Tokenizer requires the SentencePiece library but it was not found. To install it visit…", "sentencepiece"),
        ("Qwen2VLVideoProcessor requires the Torchvision library… pip install torchvision", "torchvision"),
        ("No module named 'nothing'", None),
    ],
)
def test_a_package_that_is_missing_is_named_in_one_line(random_models, monkeypatch, told, package):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    card = random_models.registry.card("any")

    text = str(load_failure(card, choose_placement(card, EngineSettings(device="cpu")), ImportError(told)))

    if package:
        assert text == f"model 'any' needs the package {package}, which is not installed here: pip install {package}"
    else:
        assert "cannot be loaded" in text


def test_a_model_that_edits_pictures_is_one_for_img2img(flux, tmp_path):
    shutil.copytree(flux.card("flow").path, tmp_path / "kontext")
    index = tmp_path / "kontext/model_index.json"
    index.write_text(index.read_text().replace("FluxPipeline", "FluxKontextPipeline"), encoding="utf-8")
    card = "family: diffusers\nsource: kontext\nmodes: [img2img]\ndefault_resolution: 64×64\n"
    (tmp_path / "edit.yaml").write_text(card, encoding="utf-8")
    pipeline = FluxKontextPipeline.from_pretrained(tmp_path / "kontext")
    pipeline.set_progress_bar_config(disable=True)

    ours = edit_with(ModelRegistry.load([tmp_path], "edit"), "edit", PipelinePool())

    picture, generator = PICTURE.resize((64, 64)), torch.Generator().manual_seed(4)
    size = {"width": 64, "height": 64, "max_area": 64 * 64}
    theirs = pipeline(picture, "a shoe", **size, num_inference_steps=4, guidance_scale=0.0, generator=generator)
    assert np.abs(ours.pixels.astype(int) - np.asarray(theirs.images[0])).max() <= 1

"""The Stable Diffusion family, driven as everyone drives it: through the engine."""

import gc
import json
import logging
import os
import shutil
import weakref
from dataclasses import replace
from functools import partial

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image

from configs.settings import EngineSettings
from models.admission import parse_request
from models.denoising.samplers import make_scheduler
from models.engine import BatchingEngine, GenerationJob
from models.image import FailedImage, GeneratedImage, InputPicture
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Sampler
from tests.support.model_factory import build_random_controlnet

NOISE = np.random.default_rng(0)
PICTURE = Image.fromarray(NOISE.integers(0, 256, (64, 64, 3), dtype=np.uint8))
EDGES = Image.fromarray((NOISE.random((64, 64)) > 0.8).astype(np.uint8) * 255).convert("RGB")
MASK = Image.new("L", (64, 64))
MASK.paste(255, (16, 16, 48, 48))
EVERYTHING = Image.new("L", (64, 64), 255)


@pytest.fixture
def engine(random_models, warm_pool) -> BatchingEngine:
    return BatchingEngine(random_models.registry, EngineSettings(device="cpu"), warm_pool)


def opened(image: Image.Image | None) -> InputPicture | None:
    return InputPicture("0" * 64, lambda: image) if image else None


@pytest.fixture
def job(random_models):
    def make(seed, text="a red shoe", model="small", image=None, mask=None, control=None, **params) -> GenerationJob:
        urls = {"image_url": image and "i", "mask_url": mask and "m", "control_image_url": control and "c"}
        params = {"resolution": "64x64", "steps": 4, **params}
        request = parse_request({"text": text, "model_type": model, "params": params, **urls}, random_models.registry)
        inputs = {"image": opened(image), "mask": opened(mask), "controls": [opened(control)] if control else []}
        kind = "eager/cpu/float32"
        recipe = plan_recipe(request, registry=random_models.registry, engine_kind=kind, seed=seed, **inputs)
        return GenerationJob(str(seed), recipe, **inputs)

    return make


def pixels(engine, *jobs) -> list[np.ndarray]:
    results = {result.id: result for result in engine.generate(jobs)}
    assert all(isinstance(result, GeneratedImage) for result in results.values()), results
    return [results[job.id].pixels.astype(int) for job in jobs]


def reference(random_models, pipeline, seed, *, sampler=Sampler.EULER, **options) -> np.ndarray:
    """What diffusers' own pipeline makes of the same request."""
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(sampler, pipeline.scheduler.config, 4)
    generator = torch.Generator().manual_seed(seed)
    options = {"num_inference_steps": 4, "guidance_scale": 7.5, "generator": generator, **options}
    return np.asarray(pipeline("a red shoe", negative_prompt="", **options).images[0]).astype(int)


@pytest.fixture
def diffusers_pipeline(random_models):
    folder = random_models.folder

    def load(kind, **parts):
        return kind.from_pretrained(folder / "sd", safety_checker=None, requires_safety_checker=False, **parts)

    return load


def test_text2img_is_what_diffusers_makes(engine, job, random_models, diffusers_pipeline):
    pipeline = diffusers_pipeline(StableDiffusionPipeline)

    (ours,) = pixels(engine, job(3, resolution="64x96"))

    theirs = reference(random_models, pipeline, 3, width=64, height=96)
    assert np.abs(ours - theirs).max() <= 1


def test_img2img_is_what_diffusers_makes(engine, job, random_models, diffusers_pipeline):
    pipeline = diffusers_pipeline(StableDiffusionImg2ImgPipeline)

    (ours,) = pixels(engine, job(3, image=PICTURE, strength=0.5))

    theirs = reference(random_models, pipeline, 3, image=PICTURE, strength=0.5)
    assert np.abs(ours - theirs).max() <= 1


def test_inpainting_is_what_diffusers_makes(engine, job, random_models, diffusers_pipeline):
    pipeline = diffusers_pipeline(StableDiffusionInpaintPipeline)

    (ours,) = pixels(engine, job(3, image=PICTURE, mask=EVERYTHING, strength=0.8))

    theirs = reference(
        random_models, pipeline, 3, image=PICTURE, mask_image=EVERYTHING, strength=0.8, width=64, height=64
    )
    assert np.abs(ours - theirs).max() <= 1


def test_controlnet_is_what_diffusers_makes(engine, job, random_models, diffusers_pipeline):
    controlnet = ControlNetModel.from_pretrained(random_models.folder / "controlnet")
    pipeline = diffusers_pipeline(StableDiffusionControlNetPipeline, controlnet=controlnet)

    (ours,) = pixels(engine, job(3, control=EDGES))

    assert np.abs(ours - reference(random_models, pipeline, 3, image=EDGES)).max() <= 1


def test_several_controlnets_of_a_card_are_what_diffusers_makes(random_models, diffusers_pipeline, tmp_path, warm_pool):
    source = random_models.folder
    build_random_controlnet(tmp_path / "other", source / "sd", seed=9)
    networks = [ControlNetModel.from_pretrained(folder) for folder in (source / "controlnet", tmp_path / "other")]
    (tmp_path / "led.yaml").write_text(
        f"family: sd\nsource: {source / 'sd'}\ncontrolnet: {source / 'controlnet'}\ncontrolnets: {{other: other}}\n"
        "modes: [text2img, controlnet]\ndefault_resolution: 64×64\n"
    )
    registry = ModelRegistry.load([tmp_path], "led")
    controls = [{"image": "a", "weight": 0.7}, {"model": "other", "image": "b", "end": 0.5}]
    request = parse_request({"text": "a red shoe", "params": {"steps": 4}, "controls": controls}, registry)
    pictures = [opened(EDGES), opened(PICTURE)]
    recipe = plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=3, controls=pictures)
    engine = BatchingEngine(registry, EngineSettings(device="cpu"), warm_pool)

    (ours,) = pixels(engine, GenerationJob("1", recipe, controls=pictures))
    (swapped,) = engine.generate([GenerationJob("1", recipe, controls=[*pictures, *pictures])])

    pipeline = diffusers_pipeline(StableDiffusionControlNetPipeline, controlnet=networks)
    leads = {"controlnet_conditioning_scale": [0.7, 1.0], "control_guidance_end": [1.0, 0.5]}
    assert np.abs(ours - reference(random_models, pipeline, 3, image=[EDGES, PICTURE], **leads)).max() <= 1
    assert swapped.error.startswith("the recipe's control is pictures 000000000000, 000000000000, but pictures 0000")


def test_inputs_change_the_picture(engine, job):
    (plain,) = pixels(engine, job(3))
    (edges,) = pixels(engine, job(3, control=EDGES))
    (other,) = pixels(engine, job(3, control=PICTURE))

    assert np.abs(plain - edges).mean() > 1
    assert np.abs(edges - other).mean() > 0.1


def test_inpainting_keeps_what_the_mask_leaves_out(engine, job):
    (ours,) = pixels(engine, job(3, image=PICTURE, mask=MASK))

    given = np.asarray(PICTURE).astype(int)
    outside = np.asarray(MASK) == 0
    np.testing.assert_array_equal(ours[outside], given[outside])
    assert np.abs(ours[24:40, 24:40] - given[24:40, 24:40]).mean() > 10


def test_a_stroke_between_the_latents_is_painted_anew_and_nothing_else_is(engine, job):
    """Three pixels wide, between those of which each latent would be told if it took the first of its block."""
    stroke = Image.new("L", (64, 64))
    stroke.paste(255, (0, 26, 64, 29))
    shoe, night = pixels(
        engine,
        job(3, image=PICTURE, mask=stroke, strength=1.0),
        job(4, "a black night", image=PICTURE, mask=stroke, strength=1.0),
    )

    assert np.abs(shoe[26:29] - night[26:29]).mean() > 5
    outside = np.asarray(stroke) == 0
    np.testing.assert_array_equal(shoe[outside], np.asarray(PICTURE).astype(int)[outside])


def test_a_black_mask_is_refused_by_name(engine, job):
    (result,) = engine.generate([job(3, image=PICTURE, mask=Image.new("L", (64, 64)))])

    assert isinstance(result, FailedImage)
    assert result.error.startswith("the mask is black: its brightest value is 0")


@pytest.mark.parametrize("inputs", [{}, {"image": PICTURE}, {"image": PICTURE, "mask": MASK}, {"control": EDGES}])
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "LCM"])
def test_a_picture_is_the_same_alone_and_in_company(engine, job, inputs, sampler):
    jobs = [
        job(1, sampler=sampler, **inputs),
        job(2, "ein blaues Hemd", sampler=sampler, negative_text="blur", **inputs),
        job(2**53 - 1, "一双红色的鞋", sampler=sampler, **inputs),
    ]

    together = pixels(engine, *jobs)

    for one, in_company in zip(jobs, together, strict=True):
        assert np.abs(pixels(engine, one)[0] - in_company).max() <= 1
    assert np.abs(together[0] - together[1]).mean() > 1


def test_the_same_recipe_gives_the_same_pixels_again(engine, job):
    np.testing.assert_array_equal(*pixels(engine, job(5)), *pixels(engine, job(5)))


@pytest.mark.parametrize("model", ["small", "v_prediction"])
@pytest.mark.parametrize("sampler", Sampler)
def test_every_sampler_paints(engine, job, sampler, model):
    painted, from_picture = pixels(
        engine, job(1, model=model, sampler=sampler), job(2, model=model, sampler=sampler, image=PICTURE)
    )

    assert painted.std() > 1
    assert from_picture.std() > 1


def test_prompt_negative_prompt_and_guidance_all_count(engine, job):
    plain, prompt, negative, guided, unguided = [
        pixels(engine, one)[0]
        for one in (
            job(1),
            job(1, "a blue shirt"),
            job(1, negative_text="blurry"),
            job(1, cfg_scale=15),
            job(1, cfg_scale=1),
        )
    ]

    for other in (prompt, negative, guided, unguided):
        assert np.abs(plain - other).max() > 1


def test_guidance_of_one_and_below_is_none(engine, job):
    np.testing.assert_array_equal(*pixels(engine, job(1, cfg_scale=1)), *pixels(engine, job(1, cfg_scale=0)))


def test_sides_that_the_unet_cannot_halve_evenly_are_painted(engine, job):
    (painted,) = pixels(engine, job(1, resolution="104x72", control=EDGES))

    assert painted.shape == (72, 104, 3)


@pytest.mark.parametrize(("strength", "steps"), [(0.01, 4), (0.001, 49), (1.0, 1)])
def test_at_least_one_step_remains_whatever_the_strength(engine, job, strength, steps):
    told = []

    list(engine.generate([job(1, image=PICTURE, strength=strength, steps=steps)], lambda *step: told.append(step)))

    assert told == [("1", 1, 1)]


def test_progress_counts_the_steps_that_are_really_done(engine, job):
    told = []

    list(engine.generate([job(1, image=PICTURE, strength=0.5, steps=8)], lambda *step: told.append(step)))

    assert told == [("1", done, 4) for done in (1, 2, 3, 4)]


def test_seconds_are_told_by_stage(engine, job):
    (result,) = engine.generate([job(1)])

    assert list(result.seconds) == ["text", "denoise", "decode"]
    assert all(seconds > 0 for seconds in result.seconds.values())


def test_a_lora_changes_the_picture_by_its_weight(engine, job):
    plain, full, half, none, other = [
        pixels(engine, one)[0]
        for one in (
            job(1),
            job(1, lora_name="bold"),
            job(1, lora_name="bold", lora_weight=0.5),
            job(1, lora_name="bold", lora_weight=0),
            job(1, lora_name="faint"),
        )
    ]

    assert np.abs(plain - full).mean() > np.abs(plain - half).mean() > 0.1
    assert np.abs(plain - none).max() <= 1
    assert np.abs(full - other).mean() > 0.1


def test_a_lora_never_leaks_into_later_jobs(engine, job):
    plain, control = pixels(engine, job(1), job(2, control=EDGES))

    (bold,) = pixels(engine, job(1, lora_name="bold"))
    after, control_after = pixels(engine, job(1), job(2, control=EDGES))
    pixels(engine, job(1, lora_name="faint"))
    (bold_again,) = pixels(engine, job(1, lora_name="bold"))

    np.testing.assert_array_equal(plain, after)
    np.testing.assert_array_equal(control, control_after)
    np.testing.assert_array_equal(bold, bold_again)


def test_a_lora_of_the_text_encoder_neither_leaks_nor_gets_prompts_encoded_without_it(engine, job, random_models):
    fresh = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())
    (expected,) = pixels(fresh, job(1, lora_name="wording"))
    (weaker_expected,) = pixels(fresh, job(1, lora_name="wording", lora_weight=0.5))
    fresh.release()

    (plain,) = pixels(engine, job(1))
    (worded,) = pixels(engine, job(1, lora_name="wording"))
    (weaker,) = pixels(engine, job(1, lora_name="wording", lora_weight=0.5))
    (after,) = pixels(engine, job(1))
    # A prompt that is first seen while the LoRA has just been in use.
    pixels(engine, job(2, "a blue shirt", lora_name="wording"))
    (unseen,) = pixels(engine, job(2, "a green hat"))
    (unseen_fresh,) = pixels(fresh, job(2, "a green hat"))
    fresh.release()

    assert np.abs(worded - plain).mean() > 1
    assert np.abs(weaker - worded).mean() > 0.5
    np.testing.assert_array_equal(worded, expected)
    np.testing.assert_array_equal(weaker, weaker_expected)
    np.testing.assert_array_equal(after, plain)
    np.testing.assert_array_equal(unseen, unseen_fresh)


def test_a_lora_for_another_model_fails_clearly_and_leaves_nothing_behind(engine, job):
    (before,) = pixels(engine, job(1))

    foreign = job(2)
    foreign = replace(foreign, recipe=foreign.recipe.model_copy(update={"lora_name": "foreign"}))

    (result,) = engine.generate([foreign])

    assert isinstance(result, FailedImage)
    assert result.error == (
        "params.lora_name: LoRA 'foreign' of model 'small': it is made for text states 80 wide, and model 'small' is "
        "Stable Diffusion 1.x or Stable Diffusion 2.x. Use one made for that."
    )
    np.testing.assert_array_equal(pixels(engine, job(1))[0], before)


def test_a_model_of_damaged_files_fails_clearly(engine, job, random_models):
    (result,) = engine.generate([job(1, model="broken")])

    assert isinstance(result, FailedImage)
    assert result.error.startswith(f"model 'broken' cannot be loaded from {random_models.folder}/broken: ")


def test_numbers_that_are_none_fail_clearly(engine, job, monkeypatch):
    (good,) = pixels(engine, job(1))

    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.GroupNorm, "forward", lambda self, batch: batch * float("nan"))
        (result,) = engine.generate([job(1)])

    assert result.error == "the model gave values that are not numbers (NaN or infinite); try dtype float32"
    np.testing.assert_array_equal(pixels(engine, job(1))[0], good)


def test_nothing_is_written_to_the_terminal(random_models, job, capfd, caplog):
    caplog.set_level(logging.WARNING)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())

    pixels(engine, job(1), job(2, lora_name="bold"), job(3, control=EDGES))

    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


def test_half_precision_paints_nearly_the_same(random_models, warm_pool, engine, job, tmp_path):
    text = (random_models.folder / "cards/small.yaml").read_text(encoding="utf-8")
    (tmp_path / "small.yaml").write_text(text + "dtype: bfloat16\n", encoding="utf-8")
    half = BatchingEngine(ModelRegistry.load([tmp_path], "small"), EngineSettings(device="cpu"), warm_pool)
    one = job(1)

    (rough,) = pixels(half, GenerationJob("1", one.recipe.model_copy(update={"engine": "eager/cpu/bfloat16"})))

    assert np.abs(rough - pixels(engine, one)[0]).mean() < 8


def test_release_returns_the_models_memory(random_models, job):
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())
    pixels(engine, job(1), job(2, control=EDGES), job(3, lora_name="bold"))
    unets = [weakref.ref(one) for one in gc.get_objects() if type(one).__name__ == "UNet2DConditionModel"]
    before = sum(ref() is not None for ref in unets)

    engine.release()

    assert sum(ref() is not None for ref in unets) == before - 1


@pytest.mark.parametrize("accelerator", ["eager", "compile"])
def test_making_room_for_another_model_returns_every_weight(random_models, job, tmp_path, monkeypatch, accelerator):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    for name, chosen in (("small", accelerator), ("v_prediction", "eager")):
        text = (random_models.folder / f"cards/{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.yaml").write_text(f"{text}\naccelerator: {chosen}\n", encoding="utf-8")
    settings = EngineSettings(device="cpu", max_warm_models=1)
    engine = BatchingEngine(ModelRegistry.load([tmp_path], "small"), settings, PipelinePool())
    other = set(map(id, weights()))

    pixels(engine, on(accelerator, job(1, steps=1)))
    if accelerator == "eager":
        pixels(engine, job(2, steps=1, control=EDGES), job(3, steps=1, lora_name="bold"))
    ours = [weakref.ref(weight) for weight in weights() if id(weight) not in other]
    assert len(ours) > 300
    pixels(engine, on("eager", job(1, steps=1, model="v_prediction")))

    assert [ref for ref in ours if ref() is not None] == []
    engine.release()
    torch.compiler.reset()


def weights() -> list[torch.nn.Parameter]:
    return [one for one in gc.get_objects() if type(one) is torch.nn.Parameter]


def on(accelerator: str, one: GenerationJob) -> GenerationJob:
    return replace(one, recipe=one.recipe.model_copy(update={"engine": f"{accelerator}/cpu/float32"}))


SAVED_WITH = {
    "euler": diffusers.EulerDiscreteScheduler,
    "karras": partial(diffusers.DPMSolverMultistepScheduler, use_karras_sigmas=True),
    "beta": partial(diffusers.EulerDiscreteScheduler, use_beta_sigmas=True),
    "clipped": partial(diffusers.DDIMScheduler, clip_sample=True, thresholding=True),
}


@pytest.fixture(scope="module")
def resaved(random_models, tmp_path_factory) -> ModelRegistry:
    """The v-prediction model saved with other solvers, as trainers and converters do."""
    folder = tmp_path_factory.mktemp("resaved")
    trained = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    trained |= {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
    for name, kind in SAVED_WITH.items():
        shutil.copytree(random_models.folder / "v", folder / name, copy_function=os.symlink)
        shutil.rmtree(folder / name / "scheduler")
        scheduler = kind(**trained)
        scheduler.save_pretrained(folder / name / "scheduler")
        index = json.loads((random_models.folder / "v/model_index.json").read_text())
        (folder / name / "model_index.json").unlink()
        index["scheduler"] = ["diffusers", type(scheduler).__name__]
        (folder / name / "model_index.json").write_text(json.dumps(index))
        (folder / f"{name}.yaml").write_text(f"family: sd\nsource: {name}\ndefault_resolution: 64×64\n")
    return ModelRegistry.load([folder], "euler")


@pytest.mark.filterwarnings("ignore:.*The configuration file of this scheduler:FutureWarning")
@pytest.mark.parametrize("name", SAVED_WITH)
@pytest.mark.parametrize("sampler", ["DDIM", "Euler", "DPM++ 2M"])
def test_the_solver_a_checkpoint_was_saved_with_changes_no_picture(resaved, warm_pool, name, sampler):
    engine = BatchingEngine(resaved, EngineSettings(device="cpu"), warm_pool)
    data = {"text": "a red shoe", "model_type": name, "params": {"steps": 6, "cfg_scale": 1, "sampler": sampler}}
    request = parse_request(data, resaved)
    recipe = plan_recipe(request, registry=resaved, engine_kind="eager/cpu/float32", seed=3)
    (ours,) = pixels(engine, GenerationJob("1", recipe))

    pipeline = StableDiffusionPipeline.from_pretrained(
        resaved.card("euler").path, safety_checker=None, requires_safety_checker=False
    )
    kind = {"DDIM": diffusers.DDIMScheduler, "Euler": diffusers.EulerDiscreteScheduler}.get(
        sampler, diffusers.DPMSolverMultistepScheduler
    )
    pipeline = StableDiffusionPipeline(
        **{**pipeline.components, "scheduler": kind.from_config(pipeline.scheduler.config)},
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a red shoe",
        width=64,
        height=64,
        guidance_scale=1.0,
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(3),
    ).images[0]
    assert np.abs(ours - np.asarray(theirs).astype(int)).max() <= 1

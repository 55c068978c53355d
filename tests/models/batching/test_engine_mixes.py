"""The whole engine on real models: mixed lists, failures in their midst, cancelling, and memory that comes back."""

import gc
import logging
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import soak
from configs.settings import EngineSettings
from foundation.errors import FailureCause
from models.adapters import adapter_switch
from models.admission import parse_request
from models.batching import runner
from models.canny import canny_edges
from models.denoising import stepper, unet_model
from models.denoising.decoding import Decoder
from models.denoising.prompts import PromptEncoder
from models.denoising.slot import Slot
from models.denoising.unet_model import UNetModel
from models.engine import BatchingEngine, GenerationJob
from models.errors import InvalidRequestError, PictureError
from models.families.any_diffusers import AnyDiffusers
from models.families.stable_diffusion import StableDiffusion
from models.image import FailedImage, GeneratedImage, InputPicture
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.request import Priority, Sampler
from tests.support.listening import Waiting
from tests.support.workbench import EDGES, MASK, PICTURE


@pytest.fixture
def engine(random_models, warm_pool):
    return BatchingEngine(random_models.registry, EngineSettings(device="cpu"), warm_pool)


@pytest.fixture
def job(random_models):
    def make(id, text="a red shoe", model="small", image=None, mask=None, control=None, **params) -> GenerationJob:
        urls = {"image_url": image and "i", "mask_url": mask and "m", "control_image_url": control and "c"}
        params = {"resolution": "64x64", "steps": 3, **params}
        request = parse_request({"text": text, "model_type": model, "params": params, **urls}, random_models.registry)
        inputs = {"image": opened(image), "mask": opened(mask), "controls": [opened(control)] if control else []}
        kind, seed = "eager/cpu/float32", params.get("seed", int(id))
        recipe = plan_recipe(request, registry=random_models.registry, engine_kind=kind, seed=seed, **inputs)
        return GenerationJob(str(id), recipe, **inputs)

    return make


def opened(image) -> InputPicture | None:
    return InputPicture("0" * 64, lambda: image) if image else None


def unreadable() -> InputPicture:
    def load():
        raise PictureError("the picture cannot be read: it is damaged.")

    return InputPicture("0" * 64, load)


def pixels(engine, *jobs) -> dict[str, np.ndarray]:
    results = {result.id: result for result in engine.generate(jobs)}
    assert all(isinstance(result, GeneratedImage) for result in results.values()), results
    return {id: result.pixels.astype(int) for id, result in results.items()}


def test_a_mixed_list_gives_each_job_its_picture_as_alone(engine, job):
    inputs = [{}, {"image": PICTURE}, {"image": PICTURE, "mask": MASK}, {"control": EDGES}]
    jobs = [
        job(
            place,
            sampler=sampler,
            steps=2 + place % 4,
            cfg_scale=(7.5, 1.0)[place % 2],
            resolution=("64x64", "72x64")[place % 2],
            lora_name=("", "bold", "faint")[place % 3],
            **inputs[place % 4],
        )
        for place, sampler in enumerate(Sampler)
    ]

    together = pixels(engine, *jobs)

    for one in jobs:
        assert np.abs(pixels(engine, one)[one.id] - together[one.id]).max() <= 1, one.recipe


def test_the_recipe_says_how_its_control_picture_is_prepared(engine, job):
    def painted(preprocess, picture) -> np.ndarray:
        one = job(1, control=picture)
        recipe = one.recipe.model_copy(update={"control_preprocess": preprocess})
        return pixels(engine, GenerationJob("1", recipe, controls=one.controls))["1"]

    edges = Image.fromarray(canny_edges(np.asarray(PICTURE.resize((64, 64)))))
    from_picture = painted("auto", PICTURE.resize((64, 64)))

    assert job(1, control=PICTURE).recipe.control_preprocess == "none"
    # The random ControlNet leads weakly: by what share of the values, not by how much, pictures are told apart.
    assert np.mean(from_picture != painted("none", edges)) < 0.01
    assert np.mean(from_picture != painted("none", PICTURE.resize((64, 64)))) > 0.1


def test_a_job_submitted_while_others_run_is_painted_as_alone(engine, job):
    heard = Waiting()
    for place in range(3):
        engine.submit(job(place, steps=12), heard, Priority.BULK)
    heard.wait_for(lambda: len(heard.steps) > 3)
    engine.submit(job(9, steps=2), heard)
    heard.wait_for(lambda: len(heard.results) == 4)

    assert next(iter(heard.results)) == "9"
    alone = pixels(engine, job(9, steps=2))["9"]
    assert np.abs(alone - heard.results["9"].pixels).max() <= 1


def test_a_cancelled_job_leaves_at_once_and_alone(engine, job):
    heard = Waiting()
    long = engine.submit(job(1, steps=200), heard)
    engine.submit(job(2, steps=4), heard)
    heard.wait_for(lambda: heard.steps)
    engine.cancel(long)
    heard.wait_for(lambda: len(heard.results) == 2)

    assert heard.results["1"] == FailedImage("1", job(1, steps=200).recipe, "cancelled")
    assert isinstance(heard.results["2"], GeneratedImage)


def test_a_list_that_is_not_read_to_its_end_is_cancelled(engine, job):
    results = engine.generate(job(place, steps=200 if place else 1) for place in range(6))
    next(results)

    results.close()
    engine.release()

    assert pixels(engine, job(1))


def test_failures_of_any_kind_stay_with_their_jobs(engine, job, monkeypatch, caplog):
    good = [job(place, steps=3 + place % 3) for place in range(6)]
    alone = {id: picture for one in good for id, picture in pixels(engine, one).items()}
    raising, broken_numbers, too_large = job(101, "raise"), job(102, "nan"), job(103, "memory")
    predict, advance = UNetModel.predict, Slot.advance

    def faulty_predict(self, slots, *row):
        texts = {slot.recipe.text for slot in slots}
        if "raise" in texts:
            raise KeyError("no such key")
        if "memory" in texts or len(slots) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, slots, *row)

    def faulty_advance(self, prediction):
        advance(self, prediction * float("nan") if self.recipe.text == "nan" else prediction)

    monkeypatch.setattr(UNetModel, "predict", faulty_predict)
    monkeypatch.setattr(Slot, "advance", faulty_advance)
    unread = job(104, image=PICTURE)
    unread = GenerationJob("104", unread.recipe, image=unreadable())
    results = {
        one.id: one for one in engine.generate([raising, *good[:3], broken_numbers, unread, too_large, *good[3:]])
    }

    assert {id: one.error for id, one in results.items() if isinstance(one, FailedImage)} == {
        "101": "generation failed: KeyError: 'no such key'",
        "102": "the model gave values that are not numbers (NaN or infinite); try dtype float32",
        "103": "out of memory: 64×64 does not fit beside the model, not even alone. Ask for fewer pixels.",
        "104": "the picture cannot be read: it is damaged.",
    }
    assert {id: one.cause for id, one in results.items() if isinstance(one, FailedImage)} == {
        "101": FailureCause.ENGINE,
        "102": FailureCause.MODEL,
        "103": FailureCause.OUT_OF_MEMORY,
        "104": FailureCause.INPUT_PICTURE,
    }
    for id, picture in alone.items():
        assert np.abs(results[id].pixels - picture).max() <= 1
    assert "job 101 failed" in caplog.messages


def test_an_all_black_picture_is_a_failure(engine, job, monkeypatch):
    monkeypatch.setattr(UNetModel, "decode", lambda self, latents, tile: np.zeros((64, 64, 3), np.float32))

    (result,) = engine.generate([job(1)])

    assert result.error == "the model gave an all-black picture; try dtype float32"


def test_pictures_beyond_the_decode_budget_are_decoded_in_tiles_and_others_as_ever(
    engine, job, random_models, warm_pool, monkeypatch
):
    settings = EngineSettings(device="cpu", decode_budget_pixels=128 * 128)
    tight = BatchingEngine(random_models.registry, settings, warm_pool)
    sizes = ["128x128", "200x136"]
    tiles, decode = [], UNetModel.decode

    def watched(self, latents, tile=None):
        tiles.append((tuple(latents.shape[2:]), tile))
        return decode(self, latents, tile)

    usual = pixels(engine, *[job(id, resolution=size) for id, size in enumerate(sizes)])
    monkeypatch.setattr(UNetModel, "decode", watched)
    small, large = [job(id, resolution=size) for id, size in enumerate(sizes)]
    refused, *made = sorted(tight.generate([small, large, of_kind(tight, large)]), key=lambda result: str(result))

    assert tiles == [((16, 16), None), ((17, 25), 16)]
    assert refused.error == ("the recipe is for engine eager/cpu/float32, but this one is eager/cpu/float32/tiles-128.")
    by_id = {result.id: result.pixels.astype(int) for result in made}
    np.testing.assert_array_equal(by_id["0"], usual["0"])
    assert 0 < np.abs(by_id["1"] - usual["1"]).mean() < 8  # random weights make noise, the hardest to join


def of_kind(engine: BatchingEngine, job: GenerationJob) -> GenerationJob:
    """The job with a recipe of this engine."""
    kind = engine.kind(job.recipe.model, job.recipe.size)
    return GenerationJob(job.id, job.recipe.model_copy(update={"engine": kind}))


@pytest.mark.parametrize(("budget", "tried"), [(None, [None, 16, 8]), (128 * 128, [16, 8])])
def test_a_decoder_without_memory_for_any_tile_fails_clearly(random_models, warm_pool, job, monkeypatch, budget, tried):
    engine = BatchingEngine(
        random_models.registry, EngineSettings(device="cpu", decode_budget_pixels=budget), warm_pool
    )
    tiles = []

    def without_memory(self, latents, tile=None):
        tiles.append(tile)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNetModel, "decode", without_memory)
    (failed,) = engine.generate([of_kind(engine, job(1, resolution="256x200"))])

    assert tiles == tried
    assert failed.error == "out of memory: a picture of 256×200 cannot be decoded."
    assert failed.cause is FailureCause.OUT_OF_MEMORY


@pytest.mark.parametrize("beside", [False, True])
def test_a_picture_that_cannot_be_finished_fails_alone(random_models, job, monkeypatch, beside):
    def cannot(*pictures):
        raise ValueError("images do not match")

    monkeypatch.setattr(stepper, "Decoder", partial(Decoder, beside=beside))
    monkeypatch.setattr(runner, "keep_unmasked", cannot)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())
    heard = Waiting()
    for one in (job(1), job(2, image=PICTURE, mask=MASK), job(3)):
        engine.submit(one, heard)
    heard.wait_for(lambda: len(heard.results) == 3)

    assert heard.results["2"].error == "generation failed: ValueError: images do not match"
    assert all(isinstance(heard.results[id], GeneratedImage) for id in ("1", "3"))


CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CUBLAS)])
@pytest.mark.parametrize(
    ("kind", "method", "changes"),
    [
        (PromptEncoder, "encode", {}),
        (UNetModel, "encode", {"image": PICTURE}),
        (Slot, "advance", {}),
        (AnyDiffusers, "infer", {"model": "any"}),
    ],
)
def test_memory_that_is_missing_anywhere_is_a_clear_error(engine, job, monkeypatch, kind, method, changes, error):
    def without_memory(*arguments):
        raise error

    monkeypatch.setattr(kind, method, without_memory)
    (failed,) = engine.generate([job(1, **changes)])

    assert failed.error == (
        "out of memory: 64×64 does not fit beside what is in use. Ask for fewer pixels, or try again later."
    )
    assert failed.cause is FailureCause.OUT_OF_MEMORY


def test_a_lora_that_finds_no_memory_is_not_told_to_be_unfit(random_models, job, monkeypatch):
    def without_memory(file):
        raise RuntimeError(CUBLAS)

    monkeypatch.setattr(adapter_switch, "read_adapter", without_memory)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())
    (failed,) = engine.generate([job(1, lora_name="bold")])

    assert failed.error.startswith("out of memory: 64×64 does not fit beside what is in use.")


class Weights:
    """Stands for what a model has loaded by the time it fails."""


@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        (ValueError("no such part"), "model 'small' cannot be loaded from {0}/sd: no such part", FailureCause.MODEL),
        (
            RuntimeError(CUBLAS),
            "out of memory: model 'small' does not fit on cpu beside what is in use there. "
            "Free memory, or use a smaller model or number type.",
            FailureCause.OUT_OF_MEMORY,
        ),
    ],
)
def test_a_failed_load_keeps_nothing_and_tells_the_same_again(random_models, job, monkeypatch, error, text, cause):
    loaded = []

    def half_loaded(self, dtype):
        weights = Weights()
        loaded.append(weakref.ref(weights))
        raise type(error)(*error.args)

    monkeypatch.setattr(StableDiffusion, "_load_pipeline", half_loaded)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())
    gc.collect()
    gc.disable()
    try:
        failures = [result for seed in range(3) for result in engine.generate([job(seed)])]
        kept = [ref() for ref in loaded]
    finally:
        gc.enable()

    assert {(one.error, one.cause) for one in failures} == {(text.format(random_models.folder), cause)}
    assert kept == [None]


def test_a_model_that_could_not_be_loaded_is_tried_again_and_then_forgotten_to_have_failed(
    random_models, job, monkeypatch
):
    monkeypatch.setattr(runner, "_UNLOADABLE_S", 0.0)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())
    with monkeypatch.context() as patched:
        patched.setattr(StableDiffusion, "_load_pipeline", lambda self, dtype: None)
        (failed,) = engine.generate([job(1)])
    assert isinstance(failed, FailedImage)

    assert pixels(engine, job(1))
    assert engine._runner._unloadable == {}


def test_prompts_beyond_77_tokens_count_to_their_end_and_beyond_600_are_refused(engine, job):
    start = "shoe " * 20
    painted = pixels(engine, job(1, start + "red"), job(2, start + "blue", seed=1), job(3))

    assert np.abs(painted["1"] - painted["2"]).max() > 1
    assert np.abs(painted["1"] - pixels(engine, job(1, start + "red"))["1"]).max() <= 1
    with pytest.raises(InvalidRequestError, match="601 tokens are above the maximum of 600"):
        job(4, "x " * 601)


def test_a_guided_request_without_room_for_two_rows_is_painted_row_by_row(engine, job, monkeypatch):
    jobs = [job(1, control=EDGES), job(2, image=PICTURE, mask=MASK), job(3, cfg_scale=1.0)]
    alone = {id: picture for one in jobs for id, picture in pixels(engine, one).items()}
    unet_rows = []
    gather = unet_model.gather_rows

    def small_memory(slots, sizes, row=None):
        rows = gather(slots, sizes, row)
        unet_rows.append(len(rows.timesteps))
        if len(rows.timesteps) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows

    monkeypatch.setattr(unet_model, "gather_rows", small_memory)
    painted = pixels(engine, *jobs)

    assert 1 in unet_rows
    for id, picture in alone.items():
        assert np.abs(painted[id] - picture).max() <= 1


def test_random_mixes_with_failures_of_every_kind_lose_none_and_leak_nothing(random_models, caplog):
    caplog.set_level(logging.CRITICAL)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())

    figures = soak.endure_failures(engine, soak.Load(random_models.registry, "small", (64, 72), (1, 4)), 80)

    assert figures["pictures"] > 50
    assert figures["failed as they should"] > 3
    assert figures["cancelled"] > 1
    assert {name: figures[name] for name in soak.LIMITS.keys() & figures if figures[name] > soak.LIMITS[name]} == {}

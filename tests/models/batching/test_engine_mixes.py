"""The whole engine on real models: mixed lists, failures in their midst, cancelling, and memory that comes back."""

import logging
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import engine_soak
from configs.errors import FailureCause
from configs.settings import EngineSettings
from models.batching import passes
from models.batching.passes import Denoiser
from models.batching.slots import Slot
from models.batching.step_model import StepModel
from models.canny import canny_edges
from models.engine import BatchingEngine, GenerationJob
from models.errors import PictureError
from models.image import FailedImage, GeneratedImage, InputPicture
from models.pipeline_pool import PipelinePool
from models.recipe import plan_recipe
from models.request import Priority, Sampler, parse_request
from tests.models.batching.workbench import EDGES, MASK, PICTURE


@pytest.fixture
def engine(random_models, warm_pool):
    return BatchingEngine(random_models.registry, EngineSettings(device="cpu"), warm_pool)


@pytest.fixture
def job(random_models):
    def make(id, text="a red shoe", model="small", image=None, mask=None, control=None, **params) -> GenerationJob:
        urls = {"image_url": image and "i", "mask_url": mask and "m", "control_image_url": control and "c"}
        params = {"resolution": "64x64", "steps": 3, **params}
        request = parse_request({"text": text, "model_type": model, "params": params, **urls}, random_models.registry)
        inputs = {"image": opened(image), "mask": opened(mask), "control": opened(control)}
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


class Waiting:
    """A listener to wait for."""

    def __init__(self) -> None:
        self.results = {}
        self.steps = []
        self.changed = threading.Condition()

    def stepped(self, job_id, done, total) -> None:
        with self.changed:
            self.steps.append((job_id, done, total))
            self.changed.notify_all()

    def ended(self, result) -> None:
        with self.changed:
            self.results[result.id] = result
            self.changed.notify_all()

    def wait_for(self, condition) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 120)


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
        return pixels(engine, GenerationJob("1", recipe, control=one.control))["1"]

    edges = Image.fromarray(canny_edges(np.asarray(PICTURE.resize((64, 64)))))
    from_picture = painted("auto", PICTURE.resize((64, 64)))

    assert job(1, control=PICTURE).recipe.control_preprocess == "none"
    assert np.abs(from_picture - painted("none", edges)).max() <= 1
    assert np.abs(from_picture - painted("none", PICTURE.resize((64, 64)))).max() > 1


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
    predict, start, advance = Denoiser._predict, StepModel.decode, Slot.advance

    def faulty_predict(self, slots, *row):
        texts = {slot.recipe.text for slot in slots}
        if "raise" in texts:
            raise KeyError("no such key")
        if "memory" in texts or len(slots) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, slots, *row)

    def faulty_advance(self, prediction):
        advance(self, prediction * float("nan") if self.recipe.text == "nan" else prediction)

    monkeypatch.setattr(Denoiser, "_predict", faulty_predict)
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
    assert start is StepModel.decode
    assert "job 101 failed" in caplog.messages


def test_an_all_black_picture_is_a_failure(engine, job, monkeypatch):
    monkeypatch.setattr(StepModel, "decode", lambda self, latents: np.zeros((64, 64, 3), np.float32))

    (result,) = engine.generate([job(1)])

    assert result.error == "the model gave an all-black picture; try dtype float32"


def test_a_decoder_without_memory_decodes_in_tiles_and_then_gives_up(engine, job, monkeypatch):
    decode, tiled = StepModel.decode, []

    def short_of_memory(self, latents):
        tiled.append(self.vae.use_tiling)
        if not self.vae.use_tiling or len(tiled) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(self, latents)

    expected = pixels(engine, job(1))["1"]
    monkeypatch.setattr(StepModel, "decode", short_of_memory)
    (painted,), (failed,) = engine.generate([job(1)]), engine.generate([job(1)])

    assert tiled == [False, True, False, True]
    assert np.abs(painted.pixels - expected).max() <= 1
    assert failed.error == "out of memory: a picture of 64×64 cannot be decoded."
    assert failed.cause is FailureCause.OUT_OF_MEMORY


def test_prompts_beyond_77_tokens_count_to_their_end_and_beyond_600_are_refused(engine, job):
    start = "shoe " * 20
    painted = pixels(engine, job(1, start + "red"), job(2, start + "blue", seed=1), job(3))

    assert np.abs(painted["1"] - painted["2"]).max() > 1
    assert np.abs(painted["1"] - pixels(engine, job(1, start + "red"))["1"]).max() <= 1
    (refused,) = engine.generate([job(4, "x " * 601)])
    assert refused.error == "the prompt has 601 tokens; the maximum is 600. Shorten it."


def test_a_guided_request_without_room_for_two_rows_is_painted_row_by_row(engine, job, monkeypatch):
    jobs = [job(1, control=EDGES), job(2, image=PICTURE, mask=MASK), job(3, cfg_scale=1.0)]
    alone = {id: picture for one in jobs for id, picture in pixels(engine, one).items()}
    unet_rows = []
    gather = passes.gather_rows

    def small_memory(slots, sizes, row=None):
        rows = gather(slots, sizes, row)
        unet_rows.append(len(rows.timesteps))
        if len(rows.timesteps) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows

    monkeypatch.setattr(passes, "gather_rows", small_memory)
    painted = pixels(engine, *jobs)

    assert 1 in unet_rows
    for id, picture in alone.items():
        assert np.abs(painted[id] - picture).max() <= 1


def test_random_mixes_with_failures_of_every_kind_lose_none_and_leak_nothing(random_models, caplog):
    caplog.set_level(logging.CRITICAL)
    engine = BatchingEngine(random_models.registry, EngineSettings(device="cpu"), PipelinePool())

    figures = engine_soak.soak(engine, engine_soak.Load(random_models.registry, "small", (64, 72), (1, 4)), 150)

    assert figures["pictures"] > 100
    assert figures["failed as they should"] > 5
    assert figures["cancelled"] > 2
    assert {name: figures[name] for name in engine_soak.LIMITS if figures[name] > engine_soak.LIMITS[name]} == {}

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from configs.settings import EngineSettings
from foundation.errors import FailureCause
from models.admission import parse_request
from models.engine import LOOK_AHEAD_BATCHES, BatchingEngine, GenerationJob
from models.errors import PictureError
from models.families.base import ModelFamily
from models.family_table import FAMILIES
from models.image import FailedImage, GeneratedImage, InputPicture
from models.pipeline_pool import PipelinePool
from models.planning import plan_recipe
from models.registry import ModelRegistry
from models.request import Mode, Sampler
from models.resolution import Resolution
from tests.support.stub_family import STUB, STUB_ALONE, StubFamily

MODES = "modes: [text2img, img2img, inpaint, controlnet]\ncontrolnet: weights\n"


@pytest.fixture
def registry(tmp_path, monkeypatch) -> ModelRegistry:
    monkeypatch.setattr(ModelRegistry, "release_fresh_s", -1.0)
    monkeypatch.setitem(FAMILIES, "stub", STUB)
    monkeypatch.setitem(FAMILIES, "alone", STUB_ALONE)
    for record in (StubFamily.loads, StubFamily.batches, StubFamily.released):
        record.clear()
    for name, text in {
        "plain": f"family: stub\n{MODES}loras: {{soft: weights/soft.safetensors}}\n",
        "other": "family: stub\nmax_side_px: 1024\nsamplers: [Euler, DDIM]\noptions: {different: true}\n",
        "broken": "family: stub\noptions: {broken: true}\n",
        "alone": "family: alone\n",
        "fast": "family: stub\naccelerator: tensorrt\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(f"source: weights\n{text}", encoding="utf-8")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/model.safetensors").write_bytes(b"weights")
    write_lora(tmp_path / "weights/soft.safetensors", 0.0)
    return ModelRegistry.load([tmp_path], "plain")


def write_lora(file: Path, value: float) -> None:
    parts = {f"unet.layer.lora_{part}.weight": np.full((1, 1), value, np.float32) for part in "AB"}
    save_file(parts, file)


@pytest.fixture
def engine(registry) -> Iterator[BatchingEngine]:
    settings = EngineSettings(device="cpu", max_batch_size=4, max_batch_wait_ms=5000)
    engine = BatchingEngine(registry, settings, PipelinePool())
    yield engine
    engine.release()  # or what a test has left would be among the batches of the next one


def job(registry, seed: int, text="a", model="plain", image=None, mask=None, control=None, **params) -> GenerationJob:
    urls = {"image_url": image and "i", "mask_url": mask and "m", "control_image_url": control and "c"}
    params = {"resolution": "64x64", "steps": 2, **params}
    request = parse_request({"text": text, "model_type": model, "params": params, **urls}, registry)
    inputs = {"image": image, "mask": mask, "controls": [control] if control else []}
    recipe = plan_recipe(request, registry=registry, engine_kind="eager/cpu/float32", seed=seed, **inputs)
    return GenerationJob(f"job-{seed}", recipe, **inputs)


def picture(image: Image.Image | None) -> InputPicture:
    def load() -> Image.Image:
        if image is None:
            raise PictureError("the picture cannot be read: it is damaged.")
        return image

    return InputPicture("a" * 64, load)


def test_each_job_gives_its_own_picture_with_its_recipe(registry, engine):
    jobs = [job(registry, seed) for seed in (7, 8, 9)]

    results = {result.id: result for result in engine.generate(jobs)}

    assert set(results) == {"job-7", "job-8", "job-9"}
    for wanted in jobs:
        result = results[wanted.id]
        assert isinstance(result, GeneratedImage)
        assert result.recipe == wanted.recipe
        assert result.pixels.shape == (64, 64, 3)
        assert result.pixels.dtype == np.uint8
        assert (result.pixels == wanted.recipe.seed).all()
        assert result.seconds == {"denoise": pytest.approx(2 / 3)}


def test_jobs_share_a_batch_if_all_but_prompt_seed_and_pictures_agree(registry, engine):
    image = picture(Image.new("RGB", (64, 64), "white"))
    alike = [job(registry, 1), job(registry, 2, text="b", negative_text="c")]
    others = [
        job(registry, 3, steps=3),
        job(registry, 4, cfg_scale=2),
        job(registry, 5, sampler="DDIM"),
        job(registry, 6, resolution="64x72"),
        job(registry, 7, model="other"),
        job(registry, 8, image=image),
        job(registry, 9, image=image, strength=0.5),
        job(registry, 10, image=image, mask=image),
        job(registry, 11, control=image),
        job(registry, 12, lora_name="soft"),
        job(registry, 13, lora_name="soft", lora_weight=0.5),
    ]

    results = list(engine.generate([alike[0], *others, alike[1]]))

    assert all(isinstance(result, GeneratedImage) for result in results)
    assert StubFamily.batches == [[1, 2], *([seed] for seed in range(3, 14))]


def test_a_batch_holds_at_most_the_configured_number(registry, engine):
    list(engine.generate([job(registry, seed) for seed in range(10)]))

    assert [len(batch) for batch in StubFamily.batches] == [4, 4, 2]


def test_a_family_that_takes_one_at_a_time_gets_one_at_a_time(registry, engine):
    list(engine.generate([job(registry, seed, model="alone") for seed in range(3)]))

    assert StubFamily.batches == [[0], [1], [2]]


def test_jobs_are_read_only_a_bounded_number_ahead(registry, engine):
    read = []

    def endless():
        for seed in range(10**9):
            read.append(seed)
            yield job(registry, seed % 256)

    results = engine.generate(endless())
    assert read == []
    for done in range(1, 30):
        next(results)
        assert len(read) <= done + 4 * LOOK_AHEAD_BATCHES + 4
    results.close()


def test_the_oldest_job_is_never_passed_over(registry, engine):
    jobs = [job(registry, 0, steps=3), *(job(registry, seed) for seed in range(1, 100))]

    list(engine.generate(jobs))

    assert StubFamily.batches[0] == [0]


def test_steps_are_told_for_each_job_of_a_batch(registry, engine):
    steps = []

    list(engine.generate([job(registry, 1), job(registry, 2)], lambda *step: steps.append(step)))

    assert steps == [("job-1", 1, 2), ("job-2", 1, 2), ("job-1", 2, 2), ("job-2", 2, 2)]


def test_a_cancelled_job_of_a_batch_ends_at_the_next_step_and_the_others_go_on(registry, engine):
    steps, results, tickets = [], {}, {}
    everyone, all_ended = threading.Event(), threading.Event()

    class Listener:
        def stepped(self, job_id, done, total) -> None:
            everyone.wait(60)
            steps.append((job_id, done))
            engine.cancel(tickets["job-2"])

        def ended(self, result) -> None:
            results[result.id] = len(steps), result
            if len(results) == 3:
                all_ended.set()

    engine.announce(True)
    for seed in (1, 2, 3):
        tickets[f"job-{seed}"] = engine.submit(job(registry, seed, steps=3), Listener())
    engine.announce(False)
    everyone.set()

    assert all_ended.wait(60)
    assert StubFamily.batches == [[1, 2, 3]]
    assert [done for id, done in steps if id == "job-2"] in ([], [1])
    assert [done for id, done in steps if id == "job-3"] == [1, 2, 3]
    told, result = results["job-2"]
    assert result.error == "cancelled"
    assert told < len(steps)
    assert all(isinstance(results[id][1], GeneratedImage) for id in ("job-1", "job-3"))


def test_a_batch_that_nobody_waits_for_any_more_stops_at_its_next_step(registry, engine, caplog):
    steps, results, tickets = [], [], []
    everyone, all_ended = threading.Event(), threading.Event()

    class Listener:
        def stepped(self, job_id, done, total) -> None:
            everyone.wait(60)
            steps.append(done)
            for ticket in tickets:
                engine.cancel(ticket)

        def ended(self, result) -> None:
            results.append(result)
            if len(results) == 2:
                all_ended.set()

    engine.announce(True)
    tickets.extend(engine.submit(job(registry, seed, steps=150), Listener()) for seed in (1, 2))
    engine.announce(False)
    everyone.set()

    assert all_ended.wait(60)
    engine.release()
    assert {result.error for result in results} == {"cancelled"}
    assert set(steps) <= {1}
    assert StubFamily.batches == [[1, 2]]
    assert not caplog.records


def test_a_job_that_raises_fails_alone(registry, engine, caplog):
    jobs = [job(registry, 1), job(registry, 2, text="boom"), job(registry, 3)]

    results = {result.id: result for result in engine.generate(jobs)}

    assert results["job-2"] == FailedImage(
        "job-2", jobs[1].recipe, "generation failed: RuntimeError: the accelerator is out of luck"
    )
    assert isinstance(results["job-1"], GeneratedImage)
    assert isinstance(results["job-3"], GeneratedImage)
    assert "job job-2 failed" in caplog.messages


def test_a_job_whose_picture_cannot_be_read_fails_alone(registry, engine):
    good = picture(Image.new("RGB", (64, 64)))
    jobs = [job(registry, 1, image=good), job(registry, 2, image=picture(None)), job(registry, 3, image=good)]

    results = {result.id: result for result in engine.generate(jobs)}

    assert results["job-2"].error == "the picture cannot be read: it is damaged."
    assert StubFamily.batches == [[1, 3]]


def test_a_model_that_cannot_be_loaded_fails_only_its_own_jobs_and_is_tried_once(registry, engine):
    jobs = [job(registry, seed, model="broken" if seed % 2 else "plain") for seed in range(20)]

    results = list(engine.generate(jobs))

    failed = {result.id for result in results if isinstance(result, FailedImage)}
    assert failed == {f"job-{seed}" for seed in range(1, 20, 2)}
    assert {result.error for result in results if isinstance(result, FailedImage)} == {
        "model 'broken' cannot be loaded from weights: broken"
    }
    assert StubFamily.loads == ["plain", "broken"]


def test_a_recipe_for_other_files_is_refused(registry, engine, tmp_path):
    jobs = [job(registry, 1), job(registry, 2, lora_name="soft")]
    write_lora(tmp_path / "weights/soft.safetensors", 1.0)
    after = registry.release("plain")

    results = {result.id: result.error for result in engine.generate(jobs)}

    before = jobs[0].recipe.release[:12]
    text = f"the recipe is for release {before} of model 'plain', but the one here is {after[:12]}."
    assert results == {"job-1": text, "job-2": text}


def test_a_recipe_for_another_lora_engine_or_model_is_refused(registry, engine):
    def failure(**changes) -> str:
        good = job(registry, 1, lora_name="soft")
        (result,) = engine.generate([GenerationJob("x", good.recipe.model_copy(update=changes))])
        return result.error

    assert failure(lora_digest="f" * 64) == "the recipe is for another version of LoRA 'soft'."
    assert failure(engine="eager/cuda/float16") == (
        "the recipe is for engine eager/cuda/float16, but this one is eager/cpu/float32."
    )
    assert failure(model="plane").startswith("no model 'plane'. Nearest: plain. Known models: ")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"mode": Mode.CONTROLNET}, "control_image_url: model 'other' cannot do controlnet. It does: text2img."),
        ({"width_px": 4096}, "params.resolution: "),
        ({"sampler": Sampler.LCM}, "params.sampler: model 'other' does not run it: 'LCM'"),
        ({"lora_name": "soft"}, "params.lora_name: LoRA of model 'other': 'soft' is unknown: it has none."),
    ],
)
def test_a_recipe_for_what_the_model_cannot_do_is_refused_as_a_request_is(registry, engine, changes, error):
    good = job(registry, 1, model="other")

    (result,) = engine.generate([GenerationJob("x", good.recipe.model_copy(update=changes))])

    assert result.error.startswith(error)
    assert result.cause is FailureCause.REQUEST
    assert StubFamily.loads == []


def test_a_job_without_the_pictures_of_its_recipe_is_refused(registry, engine):
    def failure(job: GenerationJob) -> str:
        (result,) = engine.generate([job])
        return result.error

    image = picture(Image.new("RGB", (64, 64)))
    recipe = job(registry, 1, image=image).recipe

    assert (
        failure(GenerationJob("x", recipe)) == "the recipe's image is picture aaaaaaaaaaaa, but no picture was given."
    )
    assert failure(GenerationJob("x", recipe, InputPicture("b" * 64, image.load))) == (
        "the recipe's image is picture aaaaaaaaaaaa, but picture bbbbbbbbbbbb was given."
    )
    assert failure(GenerationJob("x", recipe, image, mask=image)) == (
        "the recipe's mask is no picture, but picture aaaaaaaaaaaa was given."
    )
    assert failure(GenerationJob("x", recipe.model_copy(update={"mode": Mode.TEXT2IMG}), image)) == (
        "the recipe is for text2img, but image_digest is given."
    )
    assert failure(GenerationJob("x", recipe.model_copy(update={"mode": Mode.INPAINT}), image)) == (
        "the recipe is for inpaint, but mask_digest is missing."
    )


def test_an_accelerator_that_is_not_here_fails_only_its_own_jobs(registry, engine):
    results = {result.id: result for result in engine.generate([job(registry, 1, model="fast"), job(registry, 2)])}

    assert results["job-1"].error == (
        "model 'fast': models of family 'stub' know no accelerator 'tensorrt'. Use auto or eager."
    )
    assert isinstance(results["job-2"], GeneratedImage)


def test_errors_of_the_job_source_reach_the_caller(registry, engine):
    def jobs():
        yield job(registry, 1)
        raise LookupError("the catalog is gone")

    with pytest.raises(LookupError, match="the catalog is gone"):
        list(engine.generate(jobs()))


def test_models_stay_warm_until_they_are_released(registry, engine):
    list(engine.generate([job(registry, 1)]))
    list(engine.generate([job(registry, 2)]))
    assert StubFamily.loads == ["plain"]

    engine.release()
    engine.release()
    assert StubFamily.released == ["plain"]

    list(engine.generate([job(registry, 3)]))
    assert StubFamily.loads == ["plain", "plain"]


def test_painted_pictures_keep_the_input_outside_of_the_mask(registry, engine):
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    image = picture(Image.new("RGB", (64, 64), (200, 200, 200)))

    (result,) = engine.generate([job(registry, 9, image=image, mask=picture(mask))])

    assert (result.pixels[:, :28] == 9).all()
    assert (result.pixels[:, 48:] == 200).all()


def test_no_jobs_give_no_pictures(engine):
    assert list(engine.generate([])) == []


def test_the_kind_names_accelerator_device_and_number_type(engine):
    assert engine.kind("plain", Resolution(64, 64)) == "eager/cpu/float32"


def test_every_registered_family_can_be_imported():
    from importlib import import_module

    for entry in FAMILIES.values():
        module, _, name = entry.target.partition(":")
        assert issubclass(getattr(import_module(module), name), ModelFamily)

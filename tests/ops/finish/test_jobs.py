"""Picture jobs through the finisher: what is stored, and what is told of it."""

import hashlib

import numpy as np
import pytest

from configs.settings import Settings
from foundation.errors import FailureCause
from io_managers.image_set import MAX_STORED_PIXELS, picture_key
from io_managers.look import look_at
from models.encoding import RecipeNotFoundError, read_recipe
from models.errors import ModelError, PictureError
from models.image import open_stored_picture
from models.picture_job import PictureJob
from models.request import PostProcess
from ops.finish import Failure, Finisher, failed_outcome, job_outcome, job_plan
from ops.moderation import Allowed, ModerationError, PictureRejectedError, open_moderation
from ops.stages import redoing, upscaling, watermarking
from resources.local_store import LocalObjectStore
from tests.support.recipes import a_recipe, some_pixels


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


@pytest.fixture
def finisher(store):
    return Finisher(store)


def job(recipe=None, **fields):
    return PictureJob(recipe=recipe or a_recipe(), **{"format": "webp", "quality": 90, **fields})


def step_of(stage, **post):
    return stage.plan(PostProcess(**post)).step


def test_a_generated_picture_is_stored_under_its_recipe_and_described(settings, store, finisher):
    wanted = job()

    finished = finisher.finish(job_plan(wanted, redoing(settings)), some_pixels(1), {"denoise": 2.0, "text": 0.5})
    outcome = job_outcome(wanted, finished)

    data = store.get(picture_key(wanted.recipe, "webp"))
    look = look_at(open_stored_picture(data, MAX_STORED_PIXELS))
    assert (outcome.id, outcome.recipe, outcome.key) == (wanted.id, wanted.recipe, picture_key(wanted.recipe, "webp"))
    assert (outcome.digest, outcome.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (outcome.width_px, outcome.height_px, outcome.seconds) == (64, 64, 2.5)
    assert (outcome.spread, outcome.fingerprint) == (look.spread, look.fingerprint)
    assert not outcome.error
    assert not outcome.reused
    assert read_recipe(data) == wanted.recipe


def test_a_stored_picture_is_found_and_described_alike(settings, finisher):
    plan = job_plan(job(), redoing(settings))
    assert finisher.find(plan) is None
    made = job_outcome(job(), finisher.finish(plan, some_pixels(1), {"denoise": 2.0}))

    found = job_outcome(job(), finisher.find(plan))

    assert found == made.model_copy(update={"reused": True, "seconds": 0.0})


def test_a_file_that_is_no_picture_any_more_is_made_again(settings, store, finisher):
    plan = job_plan(job(), redoing(settings))
    store.put(plan.key, b"half a file", content_type="image/webp")

    assert finisher.find(plan) is None


def test_a_worker_that_computes_otherwise_says_so_in_recipe_and_key(settings, finisher):
    planned = job(a_recipe(engine=""))

    outcome = job_outcome(
        planned, finisher.finish(job_plan(planned, redoing(settings), engine="eager/cuda/float16"), some_pixels(1))
    )

    made = a_recipe(engine="eager/cuda/float16")
    assert (outcome.id, outcome.recipe, outcome.key) == (planned.id, made, picture_key(made, "webp"))


def test_every_step_is_done_to_a_generated_picture_and_the_last_one_to_a_stored_picture(settings, store, finisher):
    mark = {"enable": True, "text": "SPRING", "transparency": 1.0}
    steps = (
        step_of(upscaling(settings), super_resolution="2x"),
        step_of(watermarking(settings), watermark=mark),
    )
    whole = job(a_recipe(post=steps), format="png")
    first = job(a_recipe(post=steps[:1]), format="png")

    finisher.finish(job_plan(whole, redoing(settings)), some_pixels(1))
    one = finisher.finish(job_plan(first, redoing(settings)), some_pixels(1))
    second = whole.model_copy(update={"source_key": one.plan.key, "format": "webp"})
    plan = job_plan(second, redoing(settings))
    assert [change.step for change in plan.changes] == [steps[1]]
    two = finisher.finish(plan, open_stored_picture(store.get(one.plan.key), MAX_STORED_PIXELS))

    assert (two.width_px, two.height_px) == (128, 128)
    assert two.plan.recipe == whole.recipe
    pixels = [
        np.asarray(open_stored_picture(store.get(key), MAX_STORED_PIXELS).convert("RGB"), dtype=int)
        for key in (picture_key(whole.recipe, "png"), two.plan.key)
    ]
    assert abs(pixels[0] - pixels[1]).mean() < 3


def test_a_step_with_another_file_than_the_recipes_is_refused(settings):
    step = step_of(upscaling(settings), super_resolution="2x").model_copy(update={"uses": "f" * 64})

    with pytest.raises(ModelError, match="step 'upscale' uses file ffffffffffff, the one here is .{12}. Give all"):
        job_plan(job(a_recipe(post=(step,))), redoing(settings))


def test_what_must_carry_no_recipe_carries_none(settings, store, finisher):
    plan = job_plan(job(embed=False), redoing(settings))
    finisher.finish(plan, some_pixels(1))

    with pytest.raises(RecipeNotFoundError):
        read_recipe(store.get(plan.key))
    assert finisher.find(plan) is not None


def moderated(settings, store, **checks):
    checks = settings.checks.model_copy(update=checks)
    return Finisher(store, open_moderation(checks, store))


def test_a_moderator_allows_or_rejects_before_anything_is_stored(settings, store):
    plan = job_plan(job(moderate=True), redoing(settings))
    refusing = moderated(settings, store, moderation="tests.support.own_moderator:Refusing")

    with pytest.raises(PictureRejectedError) as caught:
        refusing.finish(plan, some_pixels(1))
    outcome = failed_outcome(job(), Failure.of(caught.value))
    assert (outcome.rejected, outcome.cause, outcome.error) == (True, FailureCause.MODERATION, str(caught.value))
    assert {one.key.partition("/")[0] for one in store.list()} == {"quarantine"}
    with pytest.raises(PictureRejectedError):  # without being painted again
        refusing.find(plan)

    allowing = moderated(settings, store, moderation="blocklist")
    made = allowing.finish(plan, some_pixels(1))
    assert made.allowed == allowing.find(plan).allowed == Allowed(allowing.moderation.stamp)
    with pytest.raises(PictureRejectedError):
        refusing.find(plan)
    assert allowing.find(plan) is None


def test_a_picture_that_a_moderator_must_allow_fails_where_there_is_none(settings, store, finisher):
    with pytest.raises(ModerationError, match=r"checks\.moderation names none here"):
        finisher.finish(job_plan(job(moderate=True), redoing(settings)), some_pixels(1))

    assert list(store.list()) == []


def test_a_failure_is_told_in_words():
    assert Failure.of(PictureError("no picture")) == Failure("no picture", PictureError.cause)
    assert Failure.of(PictureError("")).error == "PictureError"
    assert not failed_outcome(job(), Failure("no")).rejected

import threading

import pytest

from io_managers.image_set import picture_key
from models.encoding import RecipeNotFoundError, read_recipe
from models.errors import PictureError
from models.picture_job import PictureJob
from models.recipe import PostStep
from ops.finish import Finisher, finish_job, job_plan
from ops.making.in_process import ChangeMaker
from ops.stages import Change
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from tests.support.recipes import a_recipe, some_pixels

STEP = PostStep(op="upscale", params={"scale": 2})


class FullStore(LocalObjectStore):
    """A store with room for so many more objects."""

    room = 1_000

    def put(self, key, data, *, content_type):
        if self.room <= 0:
            raise StoreUnavailableError("the disk is full")
        self.room -= 1
        return super().put(key, data, content_type=content_type)


@pytest.fixture
def store(tmp_path):
    return FullStore(tmp_path / "store")


def a_job(seed, **changes):
    return PictureJob(recipe=a_recipe(seed=seed), format="webp", quality=95).model_copy(update=changes)


def finished(store, job, pixels, seconds=0.0):
    """The outcome of a generated picture."""
    return finish_job(job, lambda: Finisher(store).finish(job_plan(job), pixels, {"denoise": seconds}))


def changing_jobs(store, count):
    """Jobs that change stored pictures, as they are read."""
    for seed in range(count):
        plain = finished(store, a_job(seed), some_pixels(seed), 0.0)
        yield a_job(seed, recipe=plain.recipe.with_step(STEP), source_key=plain.key)


def changed(store, apply, jobs, threads=3):
    maker = ChangeMaker(lambda step: Change(step, apply), Finisher(store), threads=threads)
    return maker.ensure(jobs, lambda *step: None)


def test_a_picture_is_stored_under_its_recipe_and_carries_it(store):
    outcome = finished(store, a_job(1), some_pixels(1), 0.5)

    assert outcome.key == picture_key(a_recipe(seed=1), "webp")
    assert read_recipe(store.get(outcome.key)) == outcome.recipe == a_recipe(seed=1)
    assert (outcome.id, outcome.seconds, outcome.error) == (a_job(1).id, 0.5, "")


def test_a_picture_may_carry_no_recipe(store):
    outcome = finished(store, a_job(1, embed=False), some_pixels(1), 0.0)

    with pytest.raises(RecipeNotFoundError):
        read_recipe(store.get(outcome.key))


def test_a_picture_that_cannot_be_encoded_fails_alone(store):
    outcome = finished(store, a_job(1), some_pixels(2, 16_400, 8), 0.0)

    assert outcome.error.startswith("16400×8 px as webp: its longest side is 16,383 px.")
    assert (outcome.key, outcome.recipe, list(store.list())) == ("", a_recipe(seed=1), [])


def test_a_change_that_fails_fails_its_picture_alone(store):
    def apply(image):
        if image.getpixel((0, 0))[2] == 40:
            raise PictureError("the logo cannot be read: it is damaged.")
        return image

    outcomes = list(changed(store, apply, changing_jobs(store, 3)))

    assert sorted(outcome.error for outcome in outcomes) == ["", "", "the logo cannot be read: it is damaged."]


def test_a_source_that_is_gone_fails_its_picture_alone(store):
    first, second = changing_jobs(store, 2)
    store.delete(first.source_key)

    errors = {outcome.id: outcome.error for outcome in changed(store, lambda image: image, [first, second])}

    assert errors[first.id].startswith(f"no object '{first.source_key[:40]}")
    assert errors[second.id] == ""


def test_jobs_are_read_no_further_than_threads_are_behind(store):
    jobs = list(changing_jobs(store, 40))
    read, done, most = [], [], []
    lock = threading.Lock()

    def apply(image):
        with lock:
            done.append(image)
        return image

    def reading():
        for job in jobs:
            read.append(job)
            most.append(len(read) - len(done))
            yield job

    assert len(list(changed(store, apply, reading(), threads=2))) == 40
    assert max(most) <= 2 + 2 * 4 + 1


def test_a_failing_store_ends_the_run_within_a_queue_of_pictures(store):
    jobs, read = list(changing_jobs(store, 40)), []
    store.room = 5

    def reading():
        for job in jobs:
            read.append(job)
            yield job

    with pytest.raises(StoreUnavailableError, match="the disk is full"):
        list(changed(store, lambda image: image, reading(), threads=1))

    assert len(read) <= 5 + 1 + 4 + 1

"""Picture jobs of catalogs beside the requests of users."""

import hashlib
import io

import pytest
from PIL import Image

from configs.lifecycle_settings import CheckSettings
from foundation.errors import FailureCause
from io_managers.image_set import picture_key
from models.control import PinnedControl
from models.encoding import read_recipe
from models.picture_job import PictureJob
from models.placement import Placement
from models.recipe import INPUT_READING, PostStep
from models.request import Mode, PostProcess
from ops.stages import upscaling
from resources.queue import TaskStatus, catalog_owner
from tests.ops.serving.conftest import DEADLINE_S
from tests.support.recipes import a_recipe
from tests.support.stand_in_worker import StandInTicket, SubmittingEngine

KIND = "stand-in/cpu/float32"


class Painter(SubmittingEngine):
    """Paints at once, and keeps in mind what."""

    def __init__(self):
        super().__init__()
        self.jobs = []

    def submit(self, job, listener, priority):
        self.jobs.append(job)
        return super().submit(job, listener, priority)


@pytest.fixture
def painter():
    return Painter()


class Catalog:
    """A run that wants pictures."""

    def __init__(self, shop):
        self._shop = shop
        self._model = shop.registry.default_model

    def job(self, text="a cup", *, engine=KIND, recipe=None, **fields):
        release = self._shop.registry.release(self._model)
        plain = a_recipe(text=text, model=self._model, release=release, engine=engine, **(recipe or {}))
        return PictureJob(**{"recipe": plain, "format": "png", "quality": 90, **fields})

    def ensure(self, *jobs, **more):
        self._shop.queue.ensure(jobs, owner=catalog_owner("spring"), client="run", **more)

    def outcomes(self, count=1):
        """So many outcomes, in the order of their jobs' texts."""
        found = {}

        def look():
            for outcome in self._shop.queue.outcomes("run", 0.2):
                found[outcome.id] = outcome
            return list(found.values())

        ended = self._shop.until(look, count)
        self._shop.queue.forget("run", found)
        return sorted(ended, key=lambda outcome: outcome.recipe.text)

    def made(self, *jobs, **more):
        """The outcomes of these jobs."""
        self.ensure(*jobs, **more)
        return self.outcomes(len(jobs))


@pytest.fixture
def catalog(shop):
    return Catalog(shop)


def test_a_job_becomes_one_picture_under_its_recipe_and_the_workers_own_business(shop, catalog, painter):
    worker = shop.worker(engine=painter)

    (outcome,) = catalog.made(job := catalog.job())

    assert outcome.error == ""
    assert (outcome.id, outcome.recipe, outcome.reused) == (job.id, job.recipe, False)
    assert shop.keys() == [outcome.key] == [picture_key(job.recipe, "png")]
    assert outcome.digest == hashlib.sha256(shop.store.get(outcome.key)).hexdigest()
    assert read_recipe(shop.store.get(outcome.key)) == job.recipe
    told = {"jobs_success": 1, "pictures": 1}
    shop.until(lambda: [one for one in shop.queue.workers() if told.items() <= one.counters.items()])
    assert worker.take_results() == []
    assert shop.queue.owned(catalog_owner("spring")) == []


def test_the_engine_makes_what_a_recipe_says(shop, catalog):
    kind = shop.engine.kind(shop.registry.default_model, a_recipe().size)
    shop.worker()

    (outcome,) = catalog.made(job := catalog.job(engine=kind))

    assert outcome.error == ""
    assert (outcome.recipe, outcome.seconds > 0) == (job.recipe, True)


def test_a_stored_picture_is_not_painted_again(shop, catalog, painter):
    shop.worker(engine=painter)
    job = catalog.job()
    (made,) = catalog.made(job)

    (found,) = catalog.made(job, anew=True)

    assert found == made.model_copy(update={"reused": True, "seconds": 0.0})
    assert len(painter.jobs) == 1


def test_a_picture_that_must_be_younger_is_painted_once_more_however_many_ask(shop, catalog, painter):
    shop.worker(engine=painter)
    (made,) = catalog.made(catalog.job())
    again = catalog.job(made_after_s=shop.store.stat(made.key).written_s)
    shop.queue.ensure([again], owner=catalog_owner("autumn"), client="other run")

    (forced,) = catalog.made(again)
    (redelivered,) = catalog.made(again, anew=True)
    (shared,) = shop.until(lambda: shop.queue.outcomes("other run", 0.2))

    assert (forced.key, forced.reused) == (made.key, False)
    assert (redelivered.reused, shared.key) == (True, made.key)
    assert shop.store.stat(made.key).written_s > again.made_after_s
    assert len(painter.jobs) == 2


@pytest.mark.parametrize("planned", ["", "eager/cuda/float16"])
def test_a_worker_of_another_kind_paints_its_own_way_and_finds_that_again(shop, catalog, painter, planned):
    shop.worker(engine=painter)
    job = catalog.job(engine=planned)

    (made,) = catalog.made(job)
    (found,) = catalog.made(job, anew=True)

    assert made.error == ""
    assert made.id == job.id
    assert made.recipe == job.recipe.model_copy(update={"engine": KIND})
    assert made.key == picture_key(made.recipe, "png")
    assert (found.key, found.recipe, found.reused) == (made.key, made.recipe, True)
    assert len(painter.jobs) == 1


def test_a_stored_picture_is_upscaled_without_the_engine(shop, catalog, painter):
    shop.worker(engine=painter)
    (source,) = catalog.made(plain := catalog.job())
    step = upscaling(shop.settings).plan(PostProcess(super_resolution="2x")).step
    bigger = plain.model_copy(update={"recipe": plain.recipe.with_step(step), "source_key": source.key})

    (outcome,) = catalog.made(bigger)

    assert outcome.error == ""
    assert (outcome.width_px, outcome.height_px) == (128, 128)
    assert outcome.key == picture_key(bigger.recipe, "png")
    assert outcome.seconds > 0
    assert len(painter.jobs) == 1
    gone = plain.model_copy(
        update={"recipe": bigger.recipe.model_copy(update={"seed": 8}), "source_key": "pictures/no"}
    )
    (failed,) = catalog.made(gone)
    assert failed.error == "the picture pictures/no is no longer in the store. Run the catalog again."


def test_input_pictures_are_read_from_the_store(shop, catalog, painter):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    key = f"inputs/{digest}"
    shop.store.put(key, buffer.getvalue(), content_type="image/png")
    given = {"mode": Mode.IMG2IMG, "strength": 0.5, "image_digest": digest, "input_reading": INPUT_READING}
    shop.worker(engine=painter)

    good, bad = catalog.made(
        catalog.job("a", recipe=given, image_key=key), catalog.job("b", recipe=given, image_key="inputs/gone")
    )

    assert good.error == ""
    assert painter.jobs[0].image.digest == digest
    assert (bad.error, bad.cause) == (
        "the input picture inputs/gone is no longer in the store. Run the catalog again.",
        FailureCause.INPUT_PICTURE,
    )


def test_control_pictures_are_read_from_the_store_in_the_recipes_order(shop, catalog, painter):
    leads = []
    for model in ("", "depth"):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), "blue" if model else "red").save(buffer, "PNG")
        leads.append(PinnedControl(model=model, digest=hashlib.sha256(buffer.getvalue()).hexdigest()))
        shop.store.put(f"inputs/{leads[-1].digest}", buffer.getvalue(), content_type="image/png")
    keys = tuple(f"inputs/{lead.digest}" for lead in leads)
    several = {"mode": Mode.CONTROLNET, "controls": tuple(leads), "input_reading": INPUT_READING}
    single = {"mode": Mode.CONTROLNET, "control_digest": leads[0].digest, "input_reading": INPUT_READING}
    shop.worker(engine=painter)

    made = catalog.made(
        catalog.job("a", recipe=several, control_keys=keys), catalog.job("b", recipe=single, control_key=keys[0])
    )

    assert [outcome.error for outcome in made] == ["", ""]
    given = {job.recipe.controls is None: [picture.digest for picture in job.controls] for job in painter.jobs}
    assert given == {False: [lead.digest for lead in leads], True: [leads[0].digest]}


def test_a_rejected_picture_is_told_as_such_and_not_painted_twice(shop, catalog, painter):
    checks = CheckSettings(moderation="tests.support.own_moderator:Refusing")
    shop.settings = shop.settings.model_copy(update={"checks": checks})
    shop.worker(engine=painter)
    job = catalog.job(moderate=True)

    (first,), (again,) = catalog.made(job), catalog.made(job)

    assert (first.rejected, first.cause) == (True, FailureCause.MODERATION)
    assert again == first
    assert len(painter.jobs) == 1


def test_a_job_that_fails_ends_no_other(shop, catalog, painter):
    shop.worker(engine=painter)
    unknown = catalog.job("a").model_copy(update={"recipe": a_recipe(text="a", post=(PostStep(op="thumbnail"),))})

    failed, made = catalog.made(unknown, catalog.job("b"))

    assert failed.error.startswith("the recipe's step 'thumbnail'")
    assert made.error == ""


def test_what_a_run_withdraws_leaves_the_engine(shop, catalog, gate):
    shop.worker(engine=gate)
    catalog.ensure(catalog.job(engine=shop.engine.kind(shop.registry.default_model, a_recipe().size)))
    assert gate.entered.acquire(timeout=DEADLINE_S)

    shop.queue.withdraw("run")

    shop.until(lambda: [1] * (shop.queue.depth().processing == 0))
    gate.opened.set()
    assert shop.queue.depth().backlog == 0


def test_jobs_are_handed_over_and_made_once(shop, catalog, gate):
    kind = shop.engine.kind(shop.registry.default_model, a_recipe().size)
    first = shop.worker(engine=gate, handover_s=0.0)
    jobs = [catalog.job(f"cup {n}", engine=kind) for n in range(5)]
    catalog.ensure(*jobs)
    shop.until(lambda: gate.submitted, 5)
    first.stop(0.0)
    first.end()

    shop.worker()
    outcomes = catalog.outcomes(5)
    gate.opened.set()

    assert [outcome.error for outcome in outcomes] == [""] * 5
    assert shop.keys() == sorted(outcome.key for outcome in outcomes)


class NeverDone(SubmittingEngine):
    """Takes whatever it is given and finishes nothing of the bulk lane."""

    def __init__(self):
        super().__init__()
        self.bulk = []

    def submit(self, job, listener, priority):
        if priority == "bulk":
            self.bulk.append(job.id)
            return StandInTicket()
        return super().submit(job, listener, priority)


def test_a_request_beside_a_saturating_catalog_is_claimed_next(shop, catalog):
    engine = NeverDone()
    most = shop.settings.engine.max_batch_size + shop.settings.serving.claim_ahead
    catalog.ensure(*(catalog.job(f"cup {n}") for n in range(10 * most)))
    shop.worker(engine=engine)
    shop.until(lambda: engine.bulk, most)

    for n in range(3):
        (task,) = shop.ended(shop.submit(f"mug {n}", resolution="64x64"))
        assert task.status is TaskStatus.SUCCESS

    assert len(engine.bulk) == most
    assert shop.queue.depth().jobs == 9 * most


def test_a_worker_that_is_full_of_jobs_goes_on_as_soon_as_some_are_done(shop, catalog, painter):
    count = 3 * (shop.settings.engine.max_batch_size + shop.settings.serving.claim_ahead)
    shop.worker(engine=painter)

    outcomes = catalog.made(*(catalog.job(f"cup {n}") for n in range(count)))

    assert {outcome.error for outcome in outcomes} == {""}
    assert len(painter.jobs) == len(shop.keys()) == count


def test_a_worker_announces_how_models_run_there(shop, painter):
    shop.worker(engine=painter)

    shop.until(lambda: list(shop.queue.placements().items()))

    assert shop.queue.placements()[shop.registry.default_model] == Placement("stand-in", "cpu", "float32")

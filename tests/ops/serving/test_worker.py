import dataclasses
import hashlib
import io
import json
import logging
import threading
import time

import pytest
from PIL import Image

from configs.log_settings import LogSettings
from foundation.errors import FailureCause
from foundation.logs import set_up_logs
from models.encoding import read_recipe
from models.recipe import Recipe
from models.request import Priority
from ops.serving import End, EngineStalledError
from resources.object_store import StoreUnavailableError
from resources.queue import TaskStatus, original_key, thumb_key
from tests.ops.serving.conftest import DEADLINE_S
from tests.support.waiting import wait_until


def picture(shop, key):
    return Image.open(io.BytesIO(shop.store.get(key)))


def test_a_request_becomes_one_original_and_one_thumbnail(shop):
    task_id = shop.submit(resolution="256x128", seed=5)
    shop.worker()

    (task,) = shop.ended(task_id)

    assert task.status is TaskStatus.SUCCESS, task.error
    (made,) = task.result.pictures
    original = original_key(task, 1, 256, 128, "webp")
    assert (made.original_key, made.thumb_key) == (original, thumb_key(task, 1, 32, 16))
    assert shop.keys() == sorted([made.original_key, made.thumb_key])
    assert (made.width_px, made.height_px, made.format, made.seed) == (256, 128, "webp", 5)
    assert made.size_bytes == len(shop.store.get(made.original_key))
    assert picture(shop, made.original_key).size == (256, 128)
    assert read_recipe(shop.store.get(made.original_key)) == Recipe.from_json(made.recipe)
    assert task.progress == 100
    assert {"queue", "denoise", "decode", "encode", "store"} <= set(task.result.seconds)


def test_a_picture_that_fits_the_box_is_its_own_thumbnail(shop):
    pictures = shop.settings.pictures.model_copy(update={"thumbnail_px": 256})
    shop.settings = shop.settings.model_copy(update={"pictures": pictures})
    task_id = shop.submit(resolution="256x128")
    shop.worker()

    (task,) = shop.ended(task_id)

    (made,) = task.result.pictures
    assert made.thumb_key == made.original_key
    assert shop.keys() == [made.original_key]


def test_twice_the_size_with_a_mark_as_png(shop):
    mark = {"enable": True, "text": "SPRING", "color": "#FF0000", "transparency": 1.0}
    plain = shop.submit(resolution="64x64", seed=5, post_process={"super_resolution": "2x", "format": "png"})
    marked = shop.submit(
        resolution="64x64", seed=5, post_process={"super_resolution": "2x", "watermark": mark, "format": "png"}
    )
    shop.worker()

    pictures = [picture(shop, task.result.pictures[0].original_key) for task in shop.ended(plain, marked)]

    assert [one.size for one in pictures] == [(128, 128)] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()
    assert any(red > 200 > 60 > green for red, green, _ in pictures[1].get_flattened_data())
    steps = [step["op"] for step in json.loads(shop.queue.task(marked).result.pictures[0].recipe)["post"]]
    assert steps == ["upscale", "watermark", "mark"]


def test_several_images_of_one_request_have_seeds_that_follow_each_other(shop):
    task_id = shop.submit(resolution="64x64", seed=7, num_images=3, post_process={"format": "png"})
    alone = shop.submit(resolution="64x64", seed=8, post_process={"format": "png"})
    shop.worker()

    several, single = shop.ended(task_id, alone)

    made = several.result.pictures
    assert [one.seed for one in made] == [7, 8, 9]
    assert len({one.original_key for one in made} | {one.thumb_key for one in made}) == 6
    assert len(shop.keys()) == 8
    second, same = (picture(shop, one.original_key).convert("L") for one in (made[1], single.result.pictures[0]))
    assert max(abs(a - b) for a, b in zip(second.tobytes(), same.tobytes(), strict=True)) <= 2


def test_progress_is_told_while_the_picture_is_made_and_never_goes_back(shop):
    task_id = shop.submit(resolution="128x128", steps=60)
    shop.worker()
    seen = []

    shop.until(lambda: seen.append(shop.queue.task(task_id).progress) or [True] * (seen[-1] == 100))

    assert seen == sorted(seen)
    assert len({percent for percent in seen if 0 < percent < 100}) >= 3


def test_a_request_the_engine_refuses_fails_with_the_reason_and_delays_nobody(shop):
    bad = shop.submit(image_url="store:uploads/gone.png")
    good = shop.submit(resolution="64x64")
    shop.worker()

    failed, made = shop.ended(bad, good)

    assert (failed.status, made.status) == (TaskStatus.FAILED, TaskStatus.SUCCESS)
    assert failed.error == "the uploaded picture is no longer in the store. Upload it again."
    assert failed.cause is FailureCause.INPUT_PICTURE
    assert len(shop.keys()) == 2


def test_an_uploaded_picture_is_read_from_the_store(shop):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    shop.store.put("uploads/a.png", buffer.getvalue(), content_type="image/png")
    task_id = shop.submit(resolution="64x64", image_url="store:uploads/a.png", strength=0.5)
    shop.worker()

    (task,) = shop.ended(task_id)

    recipe = json.loads(task.result.pictures[0].recipe)
    assert recipe["mode"] == "img2img"
    assert recipe["image_digest"] == hashlib.sha256(buffer.getvalue()).hexdigest()


def test_a_cancelled_request_stops_in_the_engine_and_leaves_nothing(shop):
    task_id = shop.submit(resolution="256x256", steps=200)
    worker = shop.worker()
    shop.until(lambda: [1] * (shop.queue.task(task_id).progress > 0))

    shop.queue.cancel(task_id)
    (task,) = shop.ended(task_id)

    assert task.status is TaskStatus.CANCELLED
    assert task.progress < 100
    assert shop.keys() == []
    (group,) = shop.until(worker.take_results)
    assert group.count(TaskStatus.CANCELLED) == 1


def test_a_cancelled_request_does_not_go_on_until_the_next_heartbeat(shop, monkeypatch):
    renew = shop.queue.renew

    def renewed_without_news(state, claims):
        return dataclasses.replace(renew(state, claims), cancelled=frozenset())

    monkeypatch.setattr(shop.queue, "renew", renewed_without_news)
    first, second = (shop.submit(resolution="256x256", steps=200) for _ in range(2))
    shop.worker()
    shop.until(lambda: [1] * all(shop.queue.task(id).progress > 0 for id in (first, second)))

    shop.queue.cancel(second)
    (task,) = shop.ended(second)

    assert task.status is TaskStatus.CANCELLED
    assert shop.queue.task(first).status is TaskStatus.PROCESSING
    shop.queue.cancel(first)


class StuckStore:
    """A store that hangs at the second picture of a task, and may hang when it is to delete one, until it is opened."""

    def __init__(self, store, *, at_deletes):
        self._store, self._at_deletes = store, at_deletes
        self.at_second, self.at_delete, self.opened = threading.Event(), threading.Event(), threading.Event()
        self.late = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put(self, key, data, *, content_type):
        if "~2" in key:
            self.at_second.set()
            assert self.opened.wait(DEADLINE_S)
        stored = self._store.put(key, data, content_type=content_type)
        if "~2" in key:
            self.late.append(key)
        return stored

    def delete(self, key):
        self.at_delete.set()
        assert not self._at_deletes or self.opened.wait(DEADLINE_S)
        return self._store.delete(key)


def test_a_store_that_hangs_at_a_cancelled_request_holds_up_no_heartbeat(shop):
    store = StuckStore(shop.store, at_deletes=True)
    worker = shop.worker(store=store, finishing_workers=3)
    several = shop.submit(resolution="64x64", num_images=2)
    assert store.at_second.wait(DEADLINE_S)
    shop.until(lambda: worker._tasks.get(several).stored_keys(), 2)
    shop.queue.cancel(several)
    assert store.at_delete.wait(DEADLINE_S)

    another = shop.submit(resolution="256x256", steps=200)
    shop.until(lambda: [1] * (shop.queue.task(another).progress > 0))
    shop.queue.cancel(another)

    assert shop.ended(another)[0].status is TaskStatus.CANCELLED
    store.opened.set()


def test_a_picture_that_is_stored_after_its_request_was_cancelled_goes_too(shop):
    store = StuckStore(shop.store, at_deletes=False)
    worker = shop.worker(store=store)
    task_id = shop.submit(resolution="64x64", num_images=2)
    assert store.at_second.wait(DEADLINE_S)
    shop.until(lambda: worker._tasks.get(task_id).stored_keys(), 2)
    shop.queue.cancel(task_id)
    shop.ended(task_id)
    shop.until(lambda: [1] * (shop.keys() == []))

    store.opened.set()
    shop.until(lambda: store.late, 2)

    shop.until(lambda: [1] * (shop.keys() == []))


def test_a_heartbeat_that_breaks_ends_the_worker_with_the_reason_and_its_tasks_go_to_the_next(shop, monkeypatch):
    def break_down():
        raise RuntimeError("the management library is gone")

    with monkeypatch.context() as patch:
        patch.setattr("ops.serving.meters.read_gpu_loads", break_down)
        worker = shop.worker()
        with pytest.raises(RuntimeError, match="the management library is gone"):
            worker.end()
    assert shop.queue.workers() == []

    task_id = shop.submit(resolution="64x64")
    shop.worker()
    assert shop.ended(task_id)[0].status is TaskStatus.SUCCESS


class HungEngine:
    """An engine that takes a picture and is not heard of again."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def submit(self, job, listener, priority):
        return threading.Event()

    def cancel(self, ticket):
        """Nobody hears."""


def test_an_engine_that_hangs_ends_its_worker_and_its_request_counts_as_delivered(shop):
    task_id = shop.submit(resolution="64x64")
    worker = shop.worker(engine=HungEngine(shop.engine), step_timeout_s=0.2)

    with pytest.raises(EngineStalledError) as caught:
        worker.end()

    assert str(caught.value) == (
        "the engine has been at one step for more than serving.step_timeout_s = 0.2 s. Its tasks are tried again one by"
        " one; where loading or building a model takes longer, raise the setting."
    )
    assert shop.queue.depth().abandoned == 1
    shop.worker()
    (task,) = shop.ended(task_id)
    assert (task.status, task.deliveries) == (TaskStatus.SUCCESS, 2)


def test_an_idle_worker_ends_and_says_goodbye(shop):
    worker = shop.worker(idle_exit_s=0.2)

    assert worker.end() is End.IDLE
    assert shop.queue.workers() == []


def test_a_worker_of_full_age_hands_its_tasks_to_the_next_without_losing_one(shop):
    tasks = [shop.submit(resolution="64x64", steps=40) for _ in range(10)]
    first = shop.worker(max_lifetime_s=0.3, handover_s=0.0)
    assert first.end() is End.LIFETIME
    left = [task for task in shop.queue.tasks(tasks) if not task.status.ended]

    shop.worker()
    ended = shop.ended(*tasks)

    assert left
    assert {task.status for task in ended} == {TaskStatus.SUCCESS}
    assert {task.deliveries for task in ended} == {1}
    assert len(shop.keys()) == 2 * len(tasks)


def test_tasks_that_have_begun_are_finished_at_the_hand_over(shop, gate):
    begun = shop.submit(resolution="64x64")
    worker = shop.worker(engine=gate)
    gate.entered.acquire(timeout=60)

    worker.stop()
    gate.opened.set()

    assert worker.end() is End.STOPPED
    assert shop.queue.task(begun).status is TaskStatus.SUCCESS


class AwayStore:
    """A store that is away for its first calls, or for ever."""

    def __init__(self, store, calls):
        self._store, self._calls = store, calls

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put(self, key, data, *, content_type):
        self._calls -= 1
        if self._calls >= 0:
            raise StoreUnavailableError("the disk is full.")
        return self._store.put(key, data, content_type=content_type)


class HeldStore:
    """A store that keeps every picture waiting until it is opened."""

    def __init__(self, store):
        self._store = store
        self.entered, self.opened = threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put(self, key, data, *, content_type):
        self.entered.set()
        assert self.opened.wait(60)
        return self._store.put(key, data, content_type=content_type)


def test_the_next_picture_is_generated_while_the_last_is_stored(shop):
    store = HeldStore(shop.store)
    shop.worker(store=store)
    first = shop.submit(resolution="64x64")
    assert store.entered.wait(60)

    second = shop.submit(resolution="64x64")
    shop.until(lambda: [1] * (shop.queue.task(second).progress == 99))  # every step is done
    assert shop.queue.task(first).status is TaskStatus.PROCESSING
    store.opened.set()

    assert {task.status for task in shop.ended(first, second)} == {TaskStatus.SUCCESS}


@pytest.mark.parametrize("lease_s", [2])
def test_a_store_that_comes_back_is_waited_for_while_the_lease_is_renewed(shop):
    task_id = shop.submit(resolution="64x64")
    shop.worker(store=AwayStore(shop.store, 8))
    began = time.monotonic()

    (task,) = shop.ended(task_id)

    assert task.status is TaskStatus.SUCCESS
    assert time.monotonic() - began > shop.settings.queue.lease_s
    assert task.deliveries == 1


def test_a_store_that_stays_away_fails_the_request_with_the_true_reason(shop):
    task_id = shop.submit(resolution="64x64")
    shop.worker(store=AwayStore(shop.store, 1000), outage_patience_s=0.5)

    (task,) = shop.ended(task_id)

    assert task.status is TaskStatus.FAILED
    assert task.error.endswith("s: the disk is full.")
    assert task.error.startswith("given up after")
    assert task.cause is FailureCause.STORE


@pytest.fixture
def log_lines(capfd):
    """Sets up logs as JSON and returns a function that reads their lines."""
    former = list(logging.getLogger().handlers)
    set_up_logs(LogSettings(format="json"))
    yield lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    logging.getLogger().handlers[:] = former


def test_what_is_logged_of_a_request_carries_its_id_whichever_thread_writes_it(shop, log_lines):
    tasks = [shop.submit(resolution="64x64") for _ in range(2)]
    shop.worker(store=AwayStore(shop.store, 1000), outage_patience_s=0.5)
    shop.ended(*tasks)

    lines: list[tuple[str, str | None]] = []

    def all_told() -> bool:
        """A task has ended for others before its worker writes the line of it."""
        lines.extend((line["message"].partition(":")[0], line.get("task_id")) for line in log_lines())
        return {(f"task {id} failed", id) for id in tasks} <= set(lines)

    wait_until(all_told)
    # The original and the thumbnail of each are stored by different threads.
    assert sorted(id for message, id in lines if message == "trying again in 0.2 s") == sorted(2 * tasks)


def test_a_picture_stored_by_a_worker_that_died_is_not_painted_again(shop, gate):
    task_id = shop.submit(resolution="64x64", seed=3)
    gate.opened.set()
    first = shop.worker(engine=gate)
    (task,) = shop.ended(task_id)
    first.stop(0.0)
    first.end()
    again = shop.submit(resolution="64x64", seed=3)
    (claim,) = shop.queue.claim("dead", 1, 1.0)
    old, new = (f"{key}" for key in (task.result.pictures[0].original_key, task_id))
    shop.store.put(old.replace(new, again), shop.store.get(old), content_type="image/webp")
    shop.queue.worker_ended("dead")
    assert claim.id == again

    shop.worker(engine=gate)
    (redone,) = shop.ended(again)

    assert gate.submitted == [f"{task_id}/1"]
    assert redone.result.pictures[0].recipe == task.result.pictures[0].recipe
    assert redone.deliveries == 2


def test_a_lost_claim_is_dropped_and_the_other_workers_result_stands(shop, gate):
    task_id = shop.submit(resolution="64x64")
    slow = shop.worker(engine=gate)
    gate.entered.acquire(timeout=60)
    shop.queue.worker_ended(slow.id)
    slow.stop(20.0)
    shop.worker()

    (task,) = shop.ended(task_id)
    gate.opened.set()

    assert slow.end() is End.STOPPED
    assert shop.queue.task(task_id) == task
    assert len(shop.keys()) == 2


def test_results_are_grouped_by_day_with_counts_seconds_keys_and_tiles(shop):
    tasks = [shop.submit(resolution="64x64") for _ in range(14)]
    worker = shop.worker()
    shop.ended(*tasks)
    worker.stop()
    worker.end()

    (group,) = worker.take_results()

    assert group.day == time.strftime("%Y-%m-%d", time.gmtime(shop.queue.task(tasks[0]).created_at_s))
    assert (group.pictures, group.count(TaskStatus.SUCCESS), len(group.tiles)) == (14, 14, 12)
    assert len(group.keys) == 14
    assert group.seconds["denoise"] > 0
    assert worker.take_results() == []


def test_the_heartbeat_tells_what_the_worker_has_done(shop):
    worker = shop.worker(run_id="run-1")
    shop.ended(shop.submit(resolution="64x64"))

    done = {"seconds_denoise", "tasks_success"}
    (state,) = shop.until(lambda: [one for one in shop.queue.workers() if done <= one.counters.keys()])

    assert (state.id, state.run_id) == (worker.id, "run-1")
    assert state.counters["tasks_success"] == 1
    assert state.counters["seconds_denoise"] > 0


@pytest.mark.parametrize("priority", list(Priority))
def test_both_lanes_are_served(shop, priority):
    task_id = shop.submit(resolution="64x64", priority=priority)
    shop.worker()

    assert shop.ended(task_id)[0].status is TaskStatus.SUCCESS

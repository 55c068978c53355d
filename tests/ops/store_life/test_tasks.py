"""What tasks in a real Redis refer to."""

import uuid

import pytest

from configs.settings import Settings
from models.request import GenerationRequest
from ops.store_life.tasks import TaskReferences, live_tasks
from resources.queue import NewTask, QueueUnavailableError, TaskPicture, TaskResult, new_task_id, open_queue
from tests.support.redis_server import running_redis


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def settings(redis, tmp_path):
    queue = {"url": redis.url, "namespace": f"test-{uuid.uuid4().hex}"}
    return Settings(home=tmp_path, queue=queue)


def test_waiting_tasks_protect_their_uploads_and_the_pictures_they_will_make(settings):
    queue = open_queue(settings)
    request = GenerationRequest(text="a mug", model_type="tiny", image_url="store:uploads/20240101/a.png")
    task = queue.submit(NewTask(id=new_task_id(), request=request), owner="me")

    known = live_tasks(settings)
    queue.close()

    assert known == TaskReferences(frozenset([task.id]), frozenset(["uploads/20240101/a.png"]))
    for name in (f"{task.id}_64x64.png", f"{task.id}~2_64x64.png", f"{task.id}~thumb_64x64.webp"):
        assert known.protects(f"20240101/{name}")
    assert not known.protects("20240101/img_other_64x64.png")


def test_finished_tasks_protect_their_pictures(settings):
    queue = open_queue(settings)
    request = GenerationRequest(text="a mug", model_type="tiny")
    queue.submit(NewTask(id="mine", request=request), owner="me")
    (claim,) = queue.claim("worker", 1, 5)
    picture = TaskPicture(
        original_key="20240101/elsewhere.png",
        thumb_key="20240101/small.webp",
        width_px=64,
        height_px=64,
        format="png",
        size_bytes=1,
        seed=1,
        recipe="{}",
    )
    assert queue.succeed(claim, TaskResult(pictures=(picture,)))

    known = live_tasks(settings)
    queue.close()

    assert known.keys == {"20240101/elsewhere.png", "20240101/small.webp"}


def test_more_tasks_than_fit_in_one_page_are_all_known(settings):
    queue = open_queue(settings)
    request = GenerationRequest(text="a mug", model_type="tiny")
    ids = {f"task{number}" for number in range(1_100)}
    for number in sorted(ids):
        queue.submit(NewTask(id=number, request=request), owner="me")

    known = live_tasks(settings)
    queue.close()

    assert known.ids == ids


def test_a_private_redis_that_never_ran_is_not_started(tmp_path):
    assert live_tasks(Settings(home=tmp_path)) == TaskReferences()
    assert not (tmp_path / "redis").exists()


def test_an_unreachable_redis_is_an_error(tmp_path):
    with pytest.raises(QueueUnavailableError, match="cannot be used now"):
        live_tasks(Settings(home=tmp_path, queue={"url": "redis://127.0.0.1:1/0"}))

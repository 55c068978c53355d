"""One Redis for the session, and an empty queue on it for each test."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError

from configs.queue_settings import QueueSettings
from models.picture_job import PictureJob, PictureOutcome
from models.request import GenerationRequest
from resources.queue import (
    Claim,
    NewTask,
    QueueUnavailableError,
    RequestQueue,
    TaskPicture,
    TaskResult,
    WorkerState,
    new_task_id,
)
from resources.queue.link import RedisLink
from tests.support.recipes import a_recipe
from tests.support.redis_server import RedisServer, running_redis

Opened = Callable[..., RequestQueue]


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis; tests that stop it start their own."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """The prefix of this test's keys."""
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def open_queue(redis: RedisServer, namespace: str) -> Iterator[Opened]:
    """Opens queues on the same data, each with its own connections; keyword arguments are settings."""
    opened: list[RequestQueue] = []

    def new(**settings: Any) -> RequestQueue:
        chosen = {"url": redis.url, "namespace": namespace, **settings}
        opened.append(RequestQueue(RedisLink(QueueSettings.model_validate(chosen))))
        return opened[-1]

    yield new
    for queue in opened:
        queue.close()


@pytest.fixture
def queue(open_queue: Opened) -> RequestQueue:
    """An empty queue."""
    return open_queue()


@pytest.fixture
def names(redis: RedisServer, namespace: str) -> Iterator[Callable[[], set[str]]]:
    """The Redis keys of this test, without the prefix."""
    from redis import Redis

    with Redis.from_url(redis.url, decode_responses=True, protocol=2) as client:
        yield lambda: {key.removeprefix(f"{namespace}:") for key in client.scan_iter(f"{namespace}:*", count=10_000)}


def new_task(text: str = "a cup", id: str = "", **fields: Any) -> NewTask:
    """A request as the gateway hands it over."""
    return NewTask(id=id or new_task_id(), request=GenerationRequest(text=text, model_type="tiny", **fields))


def result(key: str = "20261123/img_a_64x64.webp") -> TaskResult:
    """A result of one picture."""
    picture = TaskPicture(
        original_key=key,
        thumb_key=f"thumb/{key}",
        width_px=64,
        height_px=64,
        format="webp",
        size_bytes=1234,
        seed=7,
        recipe="{}",
    )
    return TaskResult(pictures=(picture,), seconds={"denoise": 0.25})


def state(worker: str) -> WorkerState:
    """What a worker says with a heartbeat."""
    return WorkerState(id=worker, started_at_s=1_000)


def job(text: str = "a cup", **fields: Any) -> PictureJob:
    """A picture that a catalog wants."""
    return PictureJob(**{"recipe": a_recipe(text=text), "format": "png", "quality": 90, **fields})


def outcome_of(claim: Claim, **fields: Any) -> PictureOutcome:
    """What a worker says of a job that it has done."""
    wanted = PictureJob.model_validate(claim.task.request)
    return PictureOutcome(**{"id": wanted.id, "recipe": wanted.recipe, "key": f"pictures/{wanted.id}", **fields})


def ids(claims: list[Claim]) -> list[str]:
    """The tasks that were claimed."""
    return [claim.id for claim in claims]


class LostAnswers:
    """Makes the answers of scripts get lost, after Redis has done what they say."""

    def __init__(self, queue, monkeypatch):
        self._queue, self._monkeypatch = queue, monkeypatch

    @contextmanager
    def __call__(self):
        link = self._queue._link
        call = link.call

        def lost(command):
            call(command)
            raise QueueUnavailableError("the answer is lost") from ConnectionError()

        with self._monkeypatch.context() as patch:
            patch.setattr(link, "call", lost)
            yield


@pytest.fixture
def lost_answers(queue, monkeypatch):
    return LostAnswers(queue, monkeypatch)

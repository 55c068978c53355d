"""What gRPC offers beyond the contract: keys in metadata, further parameters, cancelling and watching a task."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from gateway.grpc_server import start_grpc
from gateway.stubs import imagegenx_pb2 as pb2
from resources.queue import TaskStatus
from tests.support.open_gateway import close, end_tasks, new_service
from tests.support.scheduler_stub import SchedulerServiceStub
from tests.support.waiting import wait_until


@pytest.fixture
def service(tmp_path):
    opened = new_service(tmp_path, gateway={"max_event_streams": 2})
    yield opened
    close(opened)


@pytest.fixture
def stub(service):
    server = start_grpc(service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield SchedulerServiceStub(channel)
    server.stop(0)


@pytest.fixture
def key(service):
    return service.accounts.create("ann", qps=1000)


def submit(stub, key, **fields) -> str:
    answer = stub.SubmitTask(pb2.SubmitTaskRequest(api_key=key, text="a cat", **fields))
    assert answer.code == 200, answer.message
    return answer.task_id


@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
def test_a_key_may_come_in_the_metadata(stub, service, key, name):
    value = f"Bearer {key}" if name == "authorization" else key
    submitted = stub.SubmitTask(pb2.SubmitTaskRequest(text="a cat"), metadata=[(name, value)])
    assert submitted.code == 200
    query = pb2.QueryTaskRequest(task_id=submitted.task_id)
    assert stub.QueryTask(query, metadata=[(name, value)]).code == 200
    assert (stub.QueryTask(query).code, stub.QueryTask(query, metadata=[(name, "Bearer x")]).code) == (401, 403)
    end_tasks(service.queue)
    (state,) = stub.WatchTask(query, metadata=[(name, value)])
    assert state.status.status == "success"


def test_every_parameter_of_a_request_can_be_sent(stub, service, key):
    params = pb2.TaskParams(
        negative_text="a dog",
        seed=0,
        num_images=2,
        schedule="trailing",
        step_cache="deepcache-2",
        post_process=pb2.PostProcess(format="png"),
    )
    task_id = submit(stub, key, params=params, priority="bulk", callback_url="https://app.example/hook")
    request = service.queue.task(task_id).request
    asked = {
        name: request["params"][name] for name in ("negative_text", "seed", "num_images", "schedule", "step_cache")
    }
    both = {"schedule": "trailing", "step_cache": "deepcache-2"}
    assert asked == {"negative_text": "a dog", "seed": 0, "num_images": 2, **both}
    assert request["params"]["post_process"]["format"] == "png"
    assert (request["priority"], request["callback_url"]) == ("bulk", "https://app.example/hook")


def test_what_a_caller_says_beside_a_request_comes_back_and_chooses_its_callbacks(stub, service, key):
    words = {"order": "7", "名": "杯"}
    hook = {"callback_url": "https://app.example/hook", "callback_events": ["task.failed"]}
    task_id = submit(stub, key, metadata=words, **hook)
    request = service.queue.task(task_id).request
    assert (request["metadata"], request["callback_events"]) == (words, ["task.failed"])
    state = stub.QueryTask(pb2.QueryTaskRequest(task_id=task_id, api_key=key))
    assert dict(state.status.metadata) == words
    wrong = pb2.SubmitTaskRequest(text="a cat", api_key=key, callback_events=["task.lost"])
    assert "callback_events.0: 'task.lost' is not one of" in stub.SubmitTask(wrong).message


def test_a_task_is_cancelled_by_its_owner_alone(stub, service, key):
    task_id = submit(stub, key)
    other = service.accounts.create("eve")
    assert stub.CancelTask(pb2.QueryTaskRequest(task_id=task_id, api_key=other)).code == 404
    cancelled = stub.CancelTask(pb2.QueryTaskRequest(task_id=task_id, api_key=key))
    assert (cancelled.code, cancelled.status.status) == (200, "cancelled")


def test_who_watches_a_task_hears_of_it_until_it_ends(stub, service, key):
    task_id = submit(stub, key)
    watch = stub.WatchTask(pb2.QueryTaskRequest(task_id=task_id, api_key=key))
    assert next(watch).status.status == "waiting"
    (claim,) = service.queue.claim("worker", 1, block_s=5)
    service.queue.progress(claim, 40)
    states = iter(watch)
    assert any((state.status.status, state.status.progress) == ("processing", 40) for state in states)
    service.queue.fail(claim, "no such luck.")
    last = list(states)[-1].status
    assert (last.status, last.error_msg) == ("failed", "no such luck.")


def test_a_finished_task_names_all_of_its_pictures(stub, service, key):
    task_id = submit(stub, key)
    end_tasks(service.queue)
    status = stub.QueryTask(pb2.QueryTaskRequest(task_id=task_id, api_key=key)).status
    (picture,) = status.pictures
    assert (picture.original_url, picture.thumb_url) == (status.original_url, status.thumb_url)
    assert (picture.resolution, picture.format, picture.size, picture.seed) == ("512×512", "webp", 1234, 7)


def test_a_key_watches_so_many_tasks_at_once_and_others_go_on(stub, service, key):
    task_id = submit(stub, key)
    query = pb2.QueryTaskRequest(task_id=task_id, api_key=key)
    held = [stub.WatchTask(query) for _ in range(2)]
    assert [next(watch).status.status for watch in held] == ["waiting"] * 2
    (refused,) = stub.WatchTask(query)
    assert (refused.code, refused.message[:8]) == (429, "API key ")
    other = service.accounts.create("bob")
    theirs = stub.WatchTask(pb2.QueryTaskRequest(task_id=submit(stub, other), api_key=other))
    assert next(theirs).status.status == "waiting"
    for watch in (*held, theirs):
        watch.cancel()
    wait_until(lambda: next(stub.WatchTask(query)).code == 200)


@pytest.mark.parametrize(("task_id", "code"), [("nobody-s", 404), ("", 404)])
def test_what_cannot_be_watched_is_told_as_in_a_query(stub, key, task_id, code):
    (answer,) = stub.WatchTask(pb2.QueryTaskRequest(task_id=task_id, api_key=key))
    assert answer.code == code


def test_the_end_of_the_server_ends_watches(service, key):
    server = start_grpc(service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, ThreadPoolExecutor() as pool:
        stub, told = SchedulerServiceStub(channel), threading.Event()
        task_id = submit(stub, key)

        def watch() -> list[tuple[int, str]]:
            states = []
            for state in stub.WatchTask(pb2.QueryTaskRequest(task_id=task_id, api_key=key)):
                states.append((state.code, state.status.status))
                told.set()
            return states

        watching = pool.submit(watch)
        assert told.wait(60)
        server.stop(5)
        assert watching.result(60) == [(200, "waiting"), (503, "")]
    assert service.queue.task(task_id).status is TaskStatus.WAITING

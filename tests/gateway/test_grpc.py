import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import ServiceError
from gateway.grpc_scheduler import request_data
from gateway.grpc_server import GrpcError, start_grpc
from gateway.stubs import imagegenx_pb2 as pb2
from models.admission import parse_request
from models.errors import InvalidRequestError
from models.gpus import GPULoad
from resources.accounts import Scope
from resources.queue import WorkerState, original_key
from tests.support.open_gateway import close, end_tasks, new_service
from tests.support.redis_server import running_redis
from tests.support.scheduler_stub import SchedulerServiceStub

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home, and so one private Redis, for all tests."""
    folder = tmp_path_factory.mktemp("home")
    keeper = new_service(folder)
    keeper.queue.check()
    yield folder
    close(keeper)


@pytest.fixture
def service(home):
    opened = new_service(home, gateway={"max_body_bytes": 20_000, "threads": 2})
    yield opened
    close(opened)


@pytest.fixture
def server(service):
    started = start_grpc(service, "127.0.0.1", 0)
    yield started
    started.stop(0)


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


@pytest.fixture
def stub(channel):
    return SchedulerServiceStub(channel)


@pytest.fixture
def key(service):
    return service.accounts.create("ann", qps=1000)


def cat(key, **fields):
    return pb2.SubmitTaskRequest(**{"api_key": key, "text": "a cat", "model_type": "tiny", **fields})


def test_a_task_is_submitted_and_asked_for_until_its_picture_is_there(stub, service, key):
    submitted = stub.SubmitTask(cat(key, task_id="order-17", user_id="ann"))
    assert submitted == pb2.SubmitTaskResponse(code=200, message="submitted", task_id="order-17")

    waiting = stub.QueryTask(pb2.QueryTaskRequest(task_id="order-17", api_key=key))
    assert waiting.code == 200
    assert waiting.status == pb2.TaskStatus(task_id="order-17", status="waiting", progress=0)

    end_tasks(service.queue)
    done = stub.QueryTask(pb2.QueryTaskRequest(task_id="order-17", api_key=key)).status
    assert (done.status, done.progress, done.HasField("error_msg")) == ("success", 100, False)
    assert done.original_url.startswith("https://pictures.example/api/v1/image/file/order-17/original?")
    assert done.thumb_url.startswith("https://pictures.example/api/v1/image/file/order-17/thumb?")


def test_a_failed_task_says_why(stub, service, key):
    stub.SubmitTask(cat(key, task_id="order-18"))
    end_tasks(service.queue, error="the input picture is damaged.")

    failed = stub.QueryTask(pb2.QueryTaskRequest(task_id="order-18", api_key=key)).status

    assert (failed.status, failed.error_msg) == ("failed", "the input picture is damaged.")
    assert not failed.HasField("original_url")
    assert not failed.HasField("thumb_url")


def test_a_task_without_an_id_gets_one(stub, key):
    first, second = stub.SubmitTask(cat(key)), stub.SubmitTask(cat(key))

    assert first.task_id.startswith("img_")
    assert first.task_id != second.task_id


def test_the_same_id_again_is_one_task_and_with_other_content_a_conflict(stub, service, key):
    answers = [stub.SubmitTask(cat(key, task_id="same")) for _ in range(3)]
    assert [(answer.code, answer.task_id) for answer in answers] == [(200, "same")] * 3
    assert sum(service.queue.depth().waiting.values()) == 1

    other = stub.SubmitTask(cat(key, task_id="same", text="a dog"))
    assert other.code == 409
    assert not other.HasField("task_id")


def test_the_ids_of_two_users_do_not_meet(stub, service, key):
    stub.SubmitTask(cat(key, task_id="mine"))
    other = service.accounts.create("bob")

    assert stub.QueryTask(pb2.QueryTaskRequest(task_id="mine", api_key=other)).code == 404
    assert stub.QueryTask(pb2.QueryTaskRequest(task_id="none", api_key=key)).code == 404
    assert stub.SubmitTask(cat(other, task_id="mine", text="a dog")) == pb2.SubmitTaskResponse(
        code=200, message="submitted", task_id="mine"
    )
    assert stub.SubmitTask(cat(other, task_id="mine")).code == 409
    mine, others = (service.task(service.recognise(whose), "mine") for whose in (key, other))
    assert (mine.request["text"], others.request["text"]) == ("a cat", "a dog")
    assert (mine.owner, others.owner, mine.name, others.name) == ("ann", "bob", "mine", "mine")
    assert original_key(mine, 1, 64, 64, "png") != original_key(others, 1, 64, 64, "png")
    assert service.cancel(service.recognise(other), "mine").status == "cancelled"
    assert service.queue.task(mine.id).status == "waiting"


def test_nobody_takes_an_id_that_was_made_for_another(stub, service, key):
    other = service.accounts.create("bob")
    made = stub.SubmitTask(cat(key)).task_id
    assert stub.SubmitTask(cat(other, task_id=made, text="a dog")).code == 200
    assert stub.SubmitTask(cat(key, task_id=made)).task_id == made
    assert stub.SubmitTask(cat(key, task_id=made, text="a dog")).code == 409
    assert sum(service.queue.depth().waiting.values()) == 2


@pytest.mark.parametrize("length", [128, 129])
def test_an_id_may_have_128_characters(stub, key, length):
    answer = stub.SubmitTask(cat(key, task_id="a" * length))
    assert (answer.code, len(answer.task_id)) == ((200, 128) if length == 128 else (422, 0))


def test_keys_are_checked_as_over_http(stub, service, key):
    calls = {
        stub.SubmitTask: cat,
        stub.QueryTask: lambda key: pb2.QueryTaskRequest(task_id="x", api_key=key),
        stub.QueryGPULoad: lambda key: pb2.QueryGPULoadRequest(api_key=key),
    }
    revoked = service.accounts.create("ann")
    service.accounts.revoke(revoked)
    for call, request in calls.items():
        assert [call(request(given)).code for given in ("", "igx_wrong", revoked)] == [401, 403, 403]


def test_the_user_must_be_that_of_the_key(stub, key):
    refused = stub.SubmitTask(cat(key, user_id="bob"))

    assert refused.code == 403
    assert refused.message == ("user_id 'bob' is not the user of this API key. Send the key's user, or leave it empty.")


def test_a_key_over_its_qps_is_told_when_to_come_back(stub, service):
    slow = service.accounts.create("slow", qps=1)
    for _ in range(20):
        response, call = stub.QueryGPULoad.with_call(pb2.QueryGPULoadRequest(api_key=slow))
        if response.code == 429:
            break

    assert response.code == 429
    assert dict(call.trailing_metadata())["retry-after"] == "1"


def test_a_bad_field_is_named(stub, key):
    params = pb2.TaskParams(steps=-3, resolution="500x500", sampler="Eulr")

    refused = stub.SubmitTask(cat(key, text=" ", params=params, image_url="http://127.0.0.1/cat.png"))

    assert refused.code == 422
    assert "image_url" in refused.message
    refused = stub.SubmitTask(cat(key, text=" ", params=params))
    assert all(field in refused.message for field in ("text", "params.steps", "params.resolution", "params.sampler"))


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"])
@pytest.mark.parametrize("method", ["SubmitTask", "QueryTask", "QueryGPULoad"])
def test_bytes_that_are_no_message_are_answered_with_a_code(channel, method, data):
    call = channel.unary_unary(f"/imagegenx.SchedulerService/{method}")

    answer = getattr(pb2, f"{method}Response").FromString(call(data))

    assert answer.code == 422
    assert answer.message == f"The message is not a {method}Request of imagegenx.proto."


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_no_bytes_lead_to_an_exception(channel, data):
    call = channel.unary_unary("/imagegenx.SchedulerService/SubmitTask")

    assert pb2.SubmitTaskResponse.FromString(call(data)).code in (401, 403, 422)


def test_a_message_that_is_too_large_is_refused(stub, key):
    with pytest.raises(grpc.RpcError) as refused:
        stub.SubmitTask(cat(key, text="x" * 30_000))

    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_what_is_not_given_takes_the_default(stub, service, key):
    stub.SubmitTask(cat(key, task_id="bare"))
    stub.SubmitTask(cat(key, task_id="zeros", params=pb2.TaskParams(post_process=pb2.PostProcess()), image_url=""))

    bare, zeros = (service.task(service.recognise(key), name).request for name in ("bare", "zeros"))

    bare["params"].pop("seed"), zeros["params"].pop("seed")
    assert bare == zeros
    assert bare["params"]["steps"] > 0
    assert bare["params"]["lora_weight"] == 1.0


def test_a_mark_that_is_not_enabled_is_none():
    """proto3 does not tell a mark that is switched off from one that nobody switched on."""
    mark = pb2.PostProcess(watermark=pb2.Watermark(text="shop", position="center"))

    assert request_data(pb2.SubmitTaskRequest(text="a", params=pb2.TaskParams(post_process=mark)))["params"] == {
        "post_process": {"watermark": {"enable": False, "text": "shop", "position": "center"}}
    }


def test_everything_that_is_given_arrives():
    mark = pb2.Watermark(enable=True, text="春", font="f", color="1,2,3", position="tile", transparency=0.1)
    params = pb2.TaskParams(
        resolution="512×512",
        steps=7,
        cfg_scale=7.1,
        sampler="DDIM",
        lora_name="pastel",
        lora_weight=-0.3,
        post_process=pb2.PostProcess(super_resolution="2x", watermark=mark),
    )
    urls = {"image_url": "http://a.example/", "mask_url": "http://b.example/", "control_image_url": "http://c.example/"}

    assert request_data(pb2.SubmitTaskRequest(text="猫", model_type="tiny", params=params, **urls)) == {
        "text": "猫",
        "model_type": "tiny",
        **urls,
        "params": {
            "resolution": "512×512",
            "steps": 7,
            "cfg_scale": 7.1,
            "sampler": "DDIM",
            "lora_name": "pastel",
            "lora_weight": -0.3,
            "post_process": {
                "super_resolution": "2x",
                "watermark": {
                    "enable": True,
                    "text": "春",
                    "font": "f",
                    "color": "1,2,3",
                    "position": "tile",
                    "transparency": 0.1,
                },
            },
        },
    }


def test_several_loras_arrive_with_their_weights(stub, service, key):
    stub.SubmitTask(cat(key, task_id="a", params=pb2.TaskParams(loras=[pb2.Lora(name="sketch", weight=0)])))
    both = [pb2.Lora(name="pastel", weight=-0.3), pb2.Lora(name="sketch")]
    stub.SubmitTask(cat(key, task_id="b", params=pb2.TaskParams(loras=both)))

    a, b = (service.task(service.recognise(key), name).request["params"]["loras"] for name in "ab")

    assert a == [{"name": "sketch", "weight": 0.0}]
    assert b == [{"name": "pastel", "weight": -0.3}, {"name": "sketch", "weight": 1.0}]


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"loras": [pb2.Lora(name="pastel"), pb2.Lora(name="wings")]}, "params.loras.1.name: LoRA of model 'tiny'"),
        ({"loras": [pb2.Lora()]}, "params.loras.0.name"),
        ({"loras": [pb2.Lora(name="pastel", weight=9)]}, "params.loras.0.weight"),
        ({"loras": [pb2.Lora(name="pastel")], "lora_name": "pastel"}, "params.loras: given beside lora_name"),
        ({"loras": [pb2.Lora(name="pastel"), pb2.Lora(name="pastel")]}, "params.loras: 'pastel' twice"),
    ],
)
def test_loras_are_judged_as_everywhere(stub, service, key, params, rule):
    answer = stub.SubmitTask(cat(key, params=pb2.TaskParams(**params)))
    loras = [{"name": one.name} | ({"weight": one.weight} if one.HasField("weight") else {}) for one in params["loras"]]
    with pytest.raises(InvalidRequestError) as elsewhere:
        parse_request({"text": "a", "model_type": "tiny", "params": {**params, "loras": loras}}, service.registry)

    assert (answer.code, answer.message) == (422, str(elsewhere.value))
    assert rule in answer.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(stub, key, value):
    assert stub.SubmitTask(cat(key, params=pb2.TaskParams(cfg_scale=value))).code == 422


def test_the_gpus_of_live_workers_are_told_in_gigabytes(stub, service, key):
    assert stub.QueryGPULoad(pb2.QueryGPULoadRequest(api_key=key)).gpu_loads == []
    load = GPULoad(device_id=1, utilization=37.5, memory_used_bytes=1_500_000_000, memory_total_bytes=80_000_000_000)
    service.queue.renew(WorkerState(id="w", started_at_s=1, gpu_loads=(load,)), [])

    answer = stub.QueryGPULoad(pb2.QueryGPULoadRequest(api_key=key))

    assert answer.code == 200
    assert list(answer.gpu_loads) == [pb2.GPULoad(device_id=1, utilization=37.5, memory_used=1.5, memory_total=80)]


def test_gpus_of_two_machines_are_told_apart_and_those_of_one_told_once(stub, service, key):
    def reports(worker: str, host: str, memory_bytes: int):
        load = GPULoad(device_id=0, utilization=0, memory_used_bytes=0, memory_total_bytes=memory_bytes)
        service.queue.renew(WorkerState(id=worker, host=host, started_at_s=1, gpu_loads=(load,)), [])

    reports("w", "north", 80_000_000_000)
    reports("x", "north", 80_000_000_000)
    reports("y", "south", 24_000_000_000)

    answer = stub.QueryGPULoad(pb2.QueryGPULoadRequest(api_key=key))

    assert [(load.device_id, load.memory_total) for load in answer.gpu_loads] == [(0, 80), (0, 24)]


def test_health_and_reflection_are_there(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "imagegenx.SchedulerService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "imagegenx.SchedulerService" in database.get_services()
    assert database.FindFileContainingSymbol("imagegenx.TaskParams").package == "imagegenx"


def test_streams_that_only_wait_leave_the_calls_their_threads(channel, stub, key):
    never = threading.Event()

    def silence():
        never.wait()
        yield from ()

    ask = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    begin = channel.stream_unary("/imagegenx.SchedulerService/SubmitTask")
    idle = [ask(silence()) for _ in range(16)] + [begin.future(silence()) for _ in range(16)]
    health = health_pb2_grpc.HealthStub(channel)
    watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(90)]  # two threads take 128 calls
    assert [next(watch).status for watch in watches] == [SERVING] * 90

    assert stub.SubmitTask(cat(key), timeout=60).code == 200
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == SERVING

    never.set()
    for call in idle + watches:
        call.cancel()


def test_who_watches_the_health_hears_that_the_server_ends(server, channel):
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(server.stop, 5)
        assert next(watch).status == NOT_SERVING
        watch.cancel()
        stopping.result(60)


def test_calls_beyond_the_most_are_refused_at_once(stub, server, service, key, monkeypatch):
    go_on, ended = threading.Event(), threading.Semaphore(0)

    def slow(given: str, *scopes: Scope):
        go_on.wait(60)
        raise ServiceError(418, "late")

    monkeypatch.setattr(service, "authenticate", slow)
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own: one has 128 streams at most
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", own) as other:
        calls = [one.SubmitTask.future(cat(key)) for one in [stub, SchedulerServiceStub(other)] * 70]
        for call in calls:
            call.add_done_callback(lambda _: ended.release())
        assert all(ended.acquire(timeout=60) for _ in range(12))
        go_on.set()
        codes = [call.code() for call in calls]

    assert codes.count(grpc.StatusCode.OK) == 128
    assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 12


def test_who_watches_the_health_hears_of_an_outage_that_nobody_asked_about(tmp_path):
    with running_redis(tmp_path) as redis:
        service = new_service(tmp_path, queue={"url": redis.url})
        server = start_grpc(service, "127.0.0.1", 0)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
            assert next(watch).status == SERVING
            redis.order("CONFIG", "SET", "maxmemory", 1)
            assert next(watch).status == NOT_SERVING
            redis.order("CONFIG", "SET", "maxmemory", 0)
            assert next(watch).status == SERVING
        server.stop()
        close(service)


def test_without_the_queue_calls_are_503_and_the_health_says_so(tmp_path):
    service = new_service(tmp_path, queue={"url": "redis://127.0.0.1:1", "connect_timeout_s": 1})
    server = start_grpc(service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        key = "igx_" + "x" * 43
        response, call = SchedulerServiceStub(channel).SubmitTask.with_call(cat(key))
    server.stop(0)

    assert health.status == NOT_SERVING
    assert (response.code, dict(call.trailing_metadata())["retry-after"]) == (503, "2")


def test_an_error_nobody_foresaw_is_a_500_that_tells_the_log_alone(stub, service, key, monkeypatch, caplog):
    monkeypatch.setattr(service, "authenticate", lambda key, *scopes: 1 / 0)

    answer = stub.SubmitTask(cat(key))

    assert (answer.code, answer.message) == (500, "The gateway failed; its log says why.")
    assert "ZeroDivisionError" in caplog.text
    assert key not in caplog.text


def test_a_port_that_is_taken_is_a_clear_error(service, server):
    with pytest.raises(GrpcError, match=f"gRPC cannot listen on 127.0.0.1:{server.port}: the port is taken"):
        start_grpc(service, "127.0.0.1", server.port)


def test_stopping_lets_a_call_under_way_end_and_takes_no_other(stub, server, service, key, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(given: str, *scopes: Scope):
        begun.set()
        go_on.wait(60)
        raise ServiceError(418, "late")

    monkeypatch.setattr(service, "authenticate", slow)
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(stub.SubmitTask, cat(key))
        assert begun.wait(60)
        stopping = pool.submit(server.stop, 20)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as late:
            for _ in range(1000):
                try:
                    SchedulerServiceStub(late).QueryGPULoad(pb2.QueryGPULoadRequest(), timeout=0.2)
                except grpc.RpcError as refused:
                    code = refused.code()
                    if code == grpc.StatusCode.UNAVAILABLE:
                        break
        assert code == grpc.StatusCode.UNAVAILABLE
        assert not under_way.done()
        go_on.set()
        assert under_way.result(60).code == 418
        stopping.result(60)


def test_a_call_whose_deadline_passed_while_it_waited_for_a_thread_is_not_begun(
    stub, server, service, key, monkeypatch
):
    go_on, begun, keys = threading.Event(), threading.Semaphore(0), []

    def slow(given: str, *scopes: Scope):
        keys.append(given)
        begun.release()
        go_on.wait(60)
        raise ServiceError(418, "late")

    monkeypatch.setattr(service, "authenticate", slow)
    with ThreadPoolExecutor() as pool:
        busy = pool.submit(stub.SubmitTask, cat("busy"))  # has the one thread that unknown keys may have of two
        assert begun.acquire(timeout=60)
        with pytest.raises(grpc.RpcError) as expired:
            stub.SubmitTask(cat("expired"), timeout=0.1)
        assert expired.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(2)  # the server's clock for this call began later than the client's, by its way here
        go_on.set()
        assert busy.result(60).code == 418
        assert stub.SubmitTask(cat("next")).code == 418
    assert keys == ["busy", "next"]


def test_several_control_pictures_arrive():
    controls = [pb2.Control(model="depth", image="http://a.example/", weight=0.0, end=0.7), pb2.Control(image="img_1")]

    assert request_data(pb2.SubmitTaskRequest(text="a", controls=controls))["controls"] == [
        {"model": "depth", "image": "http://a.example/", "weight": 0.0, "end": 0.7},
        {"image": "img_1"},
    ]

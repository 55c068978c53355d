"""The gRPC face: `imagegenx.proto` over the gateway's service, with the health and reflection services."""

import asyncio
import logging
import math
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_NAME
from grpc_reflection.v1alpha import reflection

from foundation.errors import ImageGenXError
from foundation.logs import log_ids
from gateway.caller import calling_from, given_key
from gateway.errors import ServiceError
from gateway.grpc_health import ServiceHealth
from gateway.grpc_room import GrpcRoom
from gateway.grpc_scheduler import Scheduler
from gateway.grpc_streams import LastingStreams
from gateway.grpc_watches import Watches
from gateway.guard import Observe
from gateway.service import GatewayService
from gateway.stubs import imagegenx_pb2 as pb2
from resources.queue import TASK_ID

logger = logging.getLogger(__name__)

SERVICE_NAME = pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name

_CALLS_PER_THREAD = 64
"""Calls beyond that are refused at once (RESOURCE_EXHAUSTED) instead of waiting for a thread."""

TIME_LIMITS = {
    "grpc.keepalive_time_ms": 120_000,  # finds clients that are gone without a word
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.server_handshake_timeout_ms": 10_000,  # for clients that connect and say nothing
    "grpc.max_connection_idle_ms": 300_000,
    "grpc.max_connection_age_ms": 3_600_000,  # clients connect again; nobody holds a place for ever
    "grpc.max_connection_age_grace_ms": 60_000,
}
"""Of a connection."""

MOST_STREAMS = 100
"""Calls and streams of one connection at once; its client lets the others wait."""

T = TypeVar("T")
_Handler = Callable[[Any], Message]
_Metadata = tuple[tuple[str, str], ...]


class GrpcError(ImageGenXError):
    """The gRPC server cannot run."""


class GrpcServer:
    """A gRPC server on an event loop and in a thread of its own; `port` is where it listens.

    What only waits, for a message that does not come, for reflection's next question or for news of the health, holds
    no thread: calls are the only ones that do, and `gateway.threads` of them are answered at once.
    """

    def __init__(self, service: GatewayService, host: str, port: int, connections: int, observe: Observe) -> None:
        self._calls = _Calls(service, observe)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpc-loop", daemon=True)
        self._thread.start()
        try:
            self._server, self._health, self.port = self._run(self._started(service, host, port, connections))
        except BaseException:
            self._end()
            raise
        self._room = GrpcRoom(self.port, connections)
        self._room.start()

    def stop(self, grace_s: float = 5) -> None:
        """Say NOT_SERVING, take no more calls, give those under way `grace_s` seconds, and wait for the end."""
        if self._loop.is_closed():
            return
        self._run(self._stopped(grace_s))
        self._room.stop()
        self._end()

    async def _started(
        self, service: GatewayService, host: str, port: int, connections: int
    ) -> tuple[grpc.aio.Server, ServiceHealth, int]:
        gateway = service.settings.gateway
        options = _options(gateway.max_body_bytes, MOST_STREAMS + gateway.max_event_streams)
        options.append(("grpc.max_allowed_incoming_connections", connections))
        server = grpc.aio.server(options=options, interceptors=(LastingStreams(SERVICE_NAME),))
        health = ServiceHealth(service, SERVICE_NAME)
        await health.look()
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        reflection.enable_server_reflection((SERVICE_NAME, HEALTH_NAME, reflection.SERVICE_NAME), server)
        scheduler = Scheduler(service)
        self._watches = Watches(service, scheduler)
        server.add_generic_rpc_handlers((_handlers(scheduler, self._watches, self._calls),))
        bound = _bind(server, host, port)
        await server.start()
        self._watches.start()
        return server, health, bound

    async def _stopped(self, grace_s: float) -> None:
        self._health.end()
        await self._watches.end()
        await self._server.stop(grace_s)
        self._calls.close()

    def _run(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    def _end(self) -> None:
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Calls:
    """Runs calls on a few threads, from one event loop."""

    def __init__(self, service: GatewayService, observe: Observe) -> None:
        self._service = service
        self._observe = observe
        self._threads = service.threads("grpc")
        self._most = service.settings.gateway.threads * _CALLS_PER_THREAD
        self._under_way = 0

    async def run(self, call: Callable[[], T], api_key: str, context: Any) -> T:
        """What `call` returns. One whose client is gone before a thread was free is not begun."""
        if self._under_way >= self._most:
            self.ended("refused", 503, 0.0)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{self._most} calls are under way. Try again.")
        self._under_way += 1
        try:
            return await asyncio.wrap_future(self._threads.submit(self._service.whose(api_key), call))
        finally:
            self._under_way -= 1

    def ended(self, name: str, code: int, seconds: float) -> None:
        """Note a call that was answered."""
        self._observe("gRPC", name, code, seconds)
        logger.info("gRPC %s %d %.1f ms", name, code, 1000 * seconds)

    def close(self) -> None:
        """Begin no more calls."""
        self._threads.close()


def start_grpc(
    service: GatewayService, host: str, port: int, connections: int = 200, observe: Observe = lambda *_: None
) -> GrpcServer:
    """Serve gRPC on `host` and `port` (0: a free one) until `stop`. Without TLS: a proxy in front adds that.

    Args:
        observe: told of every call, with the method `gRPC`.

    Raises:
        GrpcError: if the address cannot be listened on.
    """
    server = GrpcServer(service, host, port, connections, observe)
    logger.info("gRPC on %s:%d", f"[{host}]" if ":" in host and not host.startswith("[") else host, server.port)
    return server


def _options(max_message_bytes: int, max_streams: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_concurrent_streams", max_streams),  # of one connection
        ("grpc.max_metadata_size", 16_384),
        ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake to be told of
        *TIME_LIMITS.items(),
    ]


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as exc:
        raise GrpcError(
            f"gRPC cannot listen on {address}: the port is taken, or the address is not this machine's. "
            "End what listens there, or set another gateway.host or gateway.grpc_port."
        ) from exc


def _handlers(scheduler: Scheduler, watches: Watches, calls: _Calls) -> grpc.GenericRpcHandler:
    """Our own handlers instead of the generated ones, which answer unreadable messages with an exception."""
    task = (pb2.QueryTaskRequest, pb2.QueryTaskResponse)
    methods: dict[str, tuple[_Handler, type[Message], type[Message]]] = {
        "SubmitTask": (scheduler.submit_task, pb2.SubmitTaskRequest, pb2.SubmitTaskResponse),
        "QueryTask": (scheduler.query_task, *task),
        "QueryGPULoad": (scheduler.query_gpu_load, pb2.QueryGPULoadRequest, pb2.QueryGPULoadResponse),
        "CancelTask": (scheduler.cancel_task, *task),
    }
    handlers = {name: _method(name, *method, calls) for name, method in methods.items()}
    handlers["WatchTask"] = _watch(watches, calls)
    return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)


def _parser(request_type: type[Message]) -> Callable[[bytes], Message | bytes]:
    def parse(data: bytes) -> Message | bytes:
        try:
            return request_type.FromString(data)
        except DecodeError:
            return data

    return parse


def _method(name: str, call: _Handler, request_type: type[Message], response_type: type[Message], calls: _Calls) -> Any:

    def answered(request: Message | bytes) -> tuple[Message, _Metadata]:
        try:
            if isinstance(request, bytes):
                raise ServiceError(422, f"The message is not a {request_type.DESCRIPTOR.name} of imagegenx.proto.")
            return call(request), ()
        except ServiceError as exc:
            return _refusal(exc, response_type)
        except Exception:  # the caller is owed an answer with a code, the operator the traceback
            logger.exception("%s failed", name)
            return _refusal(ServiceError(500, "The gateway failed; its log says why."), response_type)

    def logged(request: Message | bytes, api_key: str, peer: str) -> tuple[Message, _Metadata]:
        began = time.perf_counter()
        with calling_from(_address(peer), api_key), log_ids(request_id=secrets.token_hex(8), **_task_id(request)):
            answer: Any
            answer, metadata = answered(request)
            with log_ids(**_task_id(answer)):
                calls.ended(name, answer.code, time.perf_counter() - began)
        return answer, metadata

    async def respond(request: Message | bytes, context: Any) -> Message:
        api_key = _take_key(request, context)
        answer, metadata = await calls.run(lambda: logged(request, api_key, context.peer()), api_key, context)
        if metadata:
            context.set_trailing_metadata(metadata)
        return answer

    return grpc.unary_unary_rpc_method_handler(
        respond, request_deserializer=_parser(request_type), response_serializer=response_type.SerializeToString
    )


def _watch(watches: Watches, calls: _Calls) -> Any:
    async def stream(request: Message | bytes, context: Any) -> AsyncGenerator[Message, None]:
        api_key = _take_key(request, context)
        address, began = _address(context.peer()), time.perf_counter()

        async def run(call: Callable[[], T]) -> T:
            def called() -> T:
                with calling_from(address, api_key):
                    return call()

            return await calls.run(called, api_key, context)

        code = 200
        try:
            if not isinstance(request, pb2.QueryTaskRequest):
                raise ServiceError(422, "The message is not a QueryTaskRequest of imagegenx.proto.")
            async with aclosing(watches.follow(request, run)) as states:
                async for state in states:
                    yield state
        except ServiceError as exc:
            code = exc.code
            answer, metadata = _refusal(exc, pb2.QueryTaskResponse)
            context.set_trailing_metadata(metadata)
            yield answer
        finally:
            calls.ended("WatchTask", code, time.perf_counter() - began)

    return grpc.unary_stream_rpc_method_handler(
        stream,
        request_deserializer=_parser(pb2.QueryTaskRequest),
        response_serializer=pb2.QueryTaskResponse.SerializeToString,
    )


def _take_key(request: Any, context: Any) -> str:
    """The key of a message, into which that of the call's metadata is put if it has none."""
    if isinstance(request, bytes):
        return ""
    if not request.api_key:
        given = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
        request.api_key = given_key(given)
    return str(request.api_key)


def _address(peer: str) -> str:
    """The address in gRPC's name of a client, like `ipv4:127.0.0.1:50412` or `ipv6:%5B::1%5D:50412`."""
    return unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")


def _task_id(message: Message | bytes) -> dict[str, str]:
    """The task that a message names, as an id of log lines; what does not look like one is left out."""
    id = getattr(message, "task_id", "")
    return {"task_id": id} if TASK_ID.fullmatch(id) else {}


def _refusal(error: ServiceError, response_type: Callable[..., Message]) -> tuple[Message, _Metadata]:
    """The answer with the error's code; where coming back helps, trailing metadata says when, as `retry-after` (s)."""
    wait_s = error.retry_after_s
    metadata = () if wait_s is None else (("retry-after", str(max(1, math.ceil(wait_s)))),)
    return response_type(code=error.code, message=error.message), metadata

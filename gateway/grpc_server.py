"""The gRPC face: `imagegenx.proto` over the gateway's service, with the health and reflection services."""

import logging
import math
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_NAME
from grpc_reflection.v1alpha import reflection

from configs.errors import ImageGenXError
from configs.logs import log_ids
from gateway.errors import ServiceError
from gateway.grpc_health import ServiceHealth
from gateway.grpc_scheduler import Scheduler
from gateway.service import GatewayService
from gateway.stubs import imagegenx_pb2 as pb2
from resources.queue import TASK_ID

logger = logging.getLogger(__name__)

SERVICE_NAME = pb2.DESCRIPTOR.services_by_name["SchedulerService"].full_name

_CALLS_WAITING_PER_THREAD = 64
"""Calls beyond that are refused at once (RESOURCE_EXHAUSTED) instead of waiting for a thread."""

_Handler = Callable[[Any], Message]


class GrpcError(ImageGenXError):
    """The gRPC server cannot run."""


class GrpcServer:
    """A running gRPC server; `port` is where it listens."""

    def __init__(self, server: grpc.Server, health: ServiceHealth, port: int) -> None:
        self._server = server
        self._health = health
        self.port = port

    def stop(self, grace_s: float = 5) -> None:
        """Say NOT_SERVING, take no more calls, give those under way `grace_s` seconds, and wait for the end."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()


def start_grpc(service: GatewayService, host: str, port: int) -> GrpcServer:
    """Serve gRPC on `host` and `port` (0: a free one) until `stop`. Without TLS: a proxy in front adds that.

    Raises:
        GrpcError: if the address cannot be listened on.
    """
    threads = service.settings.gateway.threads
    server = grpc.server(
        ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
        options=_options(service.settings.gateway.max_body_bytes),
        maximum_concurrent_rpcs=threads * _CALLS_WAITING_PER_THREAD,
    )
    health = ServiceHealth(service, SERVICE_NAME)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    reflection.enable_server_reflection((SERVICE_NAME, HEALTH_NAME, reflection.SERVICE_NAME), server)
    server.add_generic_rpc_handlers((_handlers(Scheduler(service)),))
    bound = _bind(server, host, port)
    server.start()
    logger.info("gRPC on %s:%d", host, bound)
    return GrpcServer(server, health, bound)


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_metadata_size", 16_384),
        ("grpc.so_reuseport", 0),  # a second server on the same port is a mistake to be told of
        ("grpc.keepalive_time_ms", 120_000),  # finds clients that are gone without a word
        ("grpc.max_connection_idle_ms", 600_000),
    ]


def _bind(server: grpc.Server, host: str, port: int) -> int:
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as exc:
        raise GrpcError(
            f"gRPC cannot listen on {address}: the port is taken, or the address is not this machine's. "
            "End what listens there, or set another gateway.host or gateway.grpc_port."
        ) from exc


def _handlers(scheduler: Scheduler) -> grpc.GenericRpcHandler:
    """Our own handlers instead of the generated ones, which answer unreadable messages with an exception."""
    return grpc.method_handlers_generic_handler(
        SERVICE_NAME,
        {
            "SubmitTask": _method(scheduler.submit_task, pb2.SubmitTaskRequest, pb2.SubmitTaskResponse),
            "QueryTask": _method(scheduler.query_task, pb2.QueryTaskRequest, pb2.QueryTaskResponse),
            "QueryGPULoad": _method(scheduler.query_gpu_load, pb2.QueryGPULoadRequest, pb2.QueryGPULoadResponse),
        },
    )


def _method(call: _Handler, request_type: type[Message], response_type: type[Message]) -> Any:
    def parse(data: bytes) -> Message | bytes:
        try:
            return request_type.FromString(data)
        except DecodeError:
            return data

    name = request_type.DESCRIPTOR.name.removesuffix("Request")

    def answered(request: Message | bytes, context: grpc.ServicerContext) -> Message:
        try:
            if isinstance(request, bytes):
                raise ServiceError(422, f"The message is not a {request_type.DESCRIPTOR.name} of imagegenx.proto.")
            return call(request)
        except ServiceError as exc:
            return _refusal(exc, response_type, context)
        except Exception:  # the caller is owed an answer with a code, the operator the traceback
            logger.exception("%s failed", name)
            return _refusal(ServiceError(500, "The gateway failed; its log says why."), response_type, context)

    def respond(request: Message | bytes, context: grpc.ServicerContext) -> Message:
        if not context.is_active():  # its deadline passed while it waited for a thread: nobody hears the answer
            return response_type()
        began = time.perf_counter()
        with log_ids(request_id=secrets.token_hex(8), **_task_id(request)):
            answer: Any = answered(request, context)
            with log_ids(**_task_id(answer)):
                logger.info("gRPC %s %d %.1f ms", name, answer.code, 1000 * (time.perf_counter() - began))
        return cast("Message", answer)

    return grpc.unary_unary_rpc_method_handler(
        respond, request_deserializer=parse, response_serializer=response_type.SerializeToString
    )


def _task_id(message: Message | bytes) -> dict[str, str]:
    """The task that a message names, as an id of log lines; what does not look like one is left out."""
    id = getattr(message, "task_id", "")
    return {"task_id": id} if TASK_ID.fullmatch(id) else {}


def _refusal(error: ServiceError, response_type: Callable[..., Message], context: grpc.ServicerContext) -> Message:
    """The answer with the error's code; where coming back helps, trailing metadata says when, as `retry-after` (s)."""
    if error.retry_after_s is not None:
        context.set_trailing_metadata((("retry-after", str(max(1, math.ceil(error.retry_after_s)))),))
    return response_type(code=error.code, message=error.message)

"""gRPC connections: so many at once, and none for longer than it is used."""

import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway import grpc_server
from gateway.grpc_room import LOOK_S
from gateway.grpc_server import start_grpc
from tests.support.open_gateway import close, new_service

MOST = 3
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""The beginning of a connection of HTTP/2, with empty settings."""


@pytest.fixture
def service(tmp_path):
    service = new_service(tmp_path)
    yield service
    close(service)


@contextmanager
def serving(service, monkeypatch, **limits_ms):
    """A server with these time limits, in ms; yields its port."""
    for name, limit in limits_ms.items():
        monkeypatch.setitem(grpc_server.TIME_LIMITS, f"grpc.{name}", limit)
    server = start_grpc(service, "127.0.0.1", 0, MOST)
    try:
        yield server.port
    finally:
        server.stop(0)


@contextmanager
def connected(port):
    """A connection of its own, over which a call was answered."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        checked(channel)
        yield channel


def checked(channel):
    request = health_pb2.HealthCheckRequest()
    health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True, timeout=60)


def hung_up(port):
    """Wait until the server closes a connection that says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as silent:
        while silent.recv(4096):
            pass


def test_connections_beyond_the_most_are_closed_and_those_that_are_open_go_on(service, monkeypatch):
    with serving(service, monkeypatch, server_handshake_timeout_ms=600_000) as port, ExitStack() as held:
        channels = [held.enter_context(connected(port)) for _ in range(MOST)]
        hung_up(port)
        for channel in channels:
            checked(channel)
        channels[0].close()
        with connected(port):
            pass


@pytest.mark.parametrize("said", [HTTP2, b""], ids=["idle", "mute"])
def test_idle_connections_keep_nobody_out(service, said):
    server = start_grpc(service, "127.0.0.1", 0, 16)
    with ExitStack() as held:
        held.callback(server.stop, 0)
        for _ in range(40):
            idle = held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            idle.sendall(said)
        with connected(server.port) as channel:
            time.sleep(3 * LOOK_S)
            # Its own connection stays: others have said nothing for longer.
            ended = _until(channel, grpc.ChannelConnectivity.IDLE)
            checked(channel)
            assert not ended.is_set()


def test_who_connects_and_says_nothing_is_given_up(service, monkeypatch):
    with serving(service, monkeypatch, server_handshake_timeout_ms=200) as port:
        for _ in range(2):
            hung_up(port)
        with connected(port):
            pass


@pytest.mark.parametrize("limit", ["max_connection_idle_ms", "max_connection_age_ms"])
def test_a_connection_that_is_not_used_or_is_old_ends_and_the_next_call_opens_one(service, monkeypatch, limit):
    with serving(service, monkeypatch, **{limit: 200}) as port, connected(port) as channel:
        ended = _until(channel, grpc.ChannelConnectivity.IDLE)
        assert ended.wait(60)
        checked(channel)


def test_a_stream_does_not_keep_its_connection_for_ever(service, monkeypatch):
    limits = {"max_connection_age_ms": 200, "max_connection_age_grace_ms": 100}
    with serving(service, monkeypatch, **limits) as port, connected(port) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        with pytest.raises(grpc.RpcError) as ended:
            list(watch)
        assert ended.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


def _until(channel, state):
    """An event that is set once the channel is in this state."""
    reached = threading.Event()
    channel.subscribe(lambda now: reached.set() if now is state else None)
    return reached

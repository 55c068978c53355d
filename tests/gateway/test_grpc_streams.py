"""Streams that need no key: so many at once, and the oldest makes way."""

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway import grpc_streams
from gateway.grpc_server import start_grpc
from tests.support.open_gateway import close, new_service
from tests.support.waiting import wait_until

MOST = 5


@pytest.fixture
def channel(tmp_path, monkeypatch):
    monkeypatch.setattr(grpc_streams, "MOST_STREAMS", MOST)
    monkeypatch.setattr(grpc_streams, "EXCHANGED_EVERY_S", 0.05)
    service = new_service(tmp_path)
    server = start_grpc(service, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        opened.target = f"127.0.0.1:{server.port}"
        yield opened
    server.stop(0)
    close(service)


def watched(channel, ended):
    """A watch that has its first answer; its status code is added to `ended` once it ends."""
    stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    next(stream)

    def follow():
        try:
            list(stream)
        except grpc.RpcError as exc:
            ended.append(exc.code())

    threading.Thread(target=follow).start()
    return stream


def test_the_oldest_stream_makes_way_for_a_new_one(channel):
    ended = []
    streams = [watched(channel, ended) for _ in range(3 * MOST)]

    wait_until(lambda: len(ended) == 2 * MOST)
    assert set(ended) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(stream.is_active() for stream in streams[-MOST:])
    check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert check.status == health_pb2.HealthCheckResponse.SERVING
    for stream in streams:
        stream.cancel()
    wait_until(lambda: len(ended) == 3 * MOST)


def test_streams_of_one_connection_end_none_of_another(channel, tmp_path):
    ended, others = [], []
    stream = watched(channel, ended)
    with grpc.insecure_channel(channel.target, [("grpc.use_local_subchannel_pool", 1)]) as flood:
        floods = [watched(flood, others) for _ in range(3 * MOST)]
        wait_until(lambda: len(others) == 2 * MOST + 1)
        assert stream.is_active()
        for one in [stream, *floods]:
            one.cancel()
        wait_until(lambda: len(others) == 3 * MOST and ended)

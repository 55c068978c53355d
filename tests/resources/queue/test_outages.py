import logging
import time

import pytest

from configs.queue_settings import QueueSettings
from configs.settings import load_settings
from foundation.errors import ConfigError
from resources.queue import QueueAccessError, QueueUnavailableError, RequestQueue
from resources.queue.link import RedisLink
from tests.resources.queue.conftest import ids, new_task, result
from tests.support.faulty_network import closed_port, silent_listener
from tests.support.redis_server import PASSWORD, running_redis

TIMEOUT_S = 0.5
SOON_S = 15
"""Long for a busy machine, and short beside a wait without end."""


def open_at(url):
    return RequestQueue(RedisLink(QueueSettings.model_validate({"url": url, "connect_timeout_s": TIMEOUT_S})))


def test_a_redis_that_refuses_connections_is_told_at_once_and_without_its_password(caplog):
    caplog.set_level(logging.DEBUG)
    place = closed_port()
    queue = open_at(f"redis://:{PASSWORD}@{place}")

    with pytest.raises(QueueUnavailableError) as caught:
        queue.submit(new_task(), owner="ann")

    assert str(caught.value).startswith(f"Redis at {place} cannot be used now: ")
    assert str(caught.value).endswith("Start it, or correct IMAGEGENX_QUEUE__URL.")
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"


def test_a_redis_that_says_nothing_is_told_in_time():
    with silent_listener() as (place, _):
        queue = open_at(f"redis://{place}")
        began_s = time.monotonic()
        with pytest.raises(QueueUnavailableError):
            queue.submit(new_task(), owner="ann")

        assert time.monotonic() - began_s < SOON_S


@pytest.mark.parametrize("wait", ["claim", "wait_for_work"])
def test_a_redis_that_falls_silent_ends_a_wait_in_time(tmp_path, wait):
    with running_redis(tmp_path) as server:
        queue = open_at(server.url)
        queue.check()
        server.freeze()
        began_s = time.monotonic()
        with pytest.raises(QueueUnavailableError):
            queue.claim("w", 1, block_s=60) if wait == "claim" else queue.wait_for_work(60)
        waited_s = time.monotonic() - began_s
        server.thaw()

        assert waited_s < SOON_S


def test_a_wrong_password_says_what_to_do(redis):
    queue = open_at(f"redis://:battery-staple@127.0.0.1:{redis.port}")

    with pytest.raises(QueueAccessError) as caught:
        queue.check()

    assert str(caught.value).startswith(f"Redis at 127.0.0.1:{redis.port} refuses us: ")
    assert "Set IMAGEGENX_QUEUE__URL" in str(caught.value)
    assert "battery" not in str(caught.value)


def test_an_accepted_request_survives_a_crash_of_redis_and_the_same_queue_goes_on(tmp_path):
    with running_redis(tmp_path) as server:
        queue = open_at(server.url)
        sent = [queue.submit(new_task(), owner="ann").id for _ in range(6)]
        (done, *_) = claims = queue.claim("w", 3)
        queue.succeed(done, result())
        server.kill()
        with pytest.raises(QueueUnavailableError):
            queue.submit(new_task(), owner="ann")
        server.start()

        assert queue.succeed(claims[1], result())
        assert queue.task(sent[0]).result == result()
        assert ids(queue.claim("w", 9)) == sent[3:]
        assert queue.depth().processing == 4


def test_a_server_that_is_too_old_is_told_apart_from_an_outage(queue):
    with pytest.raises(QueueAccessError, match="Redis 6.2 or newer, or Valkey, is needed"):
        queue._link.call(lambda client: client.execute_command("COMMAND-OF-A-LATER-REDIS"))


@pytest.mark.parametrize("url", ["http://h", "redis://", "redis://:secret@h:port", "localhost:6379", "unix://"])
def test_a_malformed_url_is_refused_without_showing_it(url, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_QUEUE__URL", url)

    with pytest.raises(ConfigError) as caught:
        load_settings()

    assert str(caught.value) == (
        "queue.url: not a URL like redis://user:password@host:6379/0, rediss://… or unix:///path"
    )

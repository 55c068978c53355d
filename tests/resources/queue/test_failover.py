"""Redis moves behind its address, or refuses: which calls go on by themselves, and what the others say."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from redis import Redis

from configs.queue_settings import QueueSettings
from resources.accounts import Accounts
from resources.queue import QueueAccessError, QueueUnavailableError, Renewal, RequestQueue
from resources.queue.link import RedisLink
from resources.queue.trouble import TROUBLES
from tests.resources.queue.conftest import new_task, result, state
from tests.support.faulty_network import Relay
from tests.support.redis_server import PASSWORD, RedisServer, running_redis
from tests.support.waiting import wait_until

THREADS = 8


class Pair:
    """A primary, its replica, and the one address that clients know."""

    def __init__(self, primary: RedisServer, replica: RedisServer, relay: Relay) -> None:
        self.primary, self.replica, self.relay = primary, replica, relay
        settings = QueueSettings.model_validate({"url": f"redis://:{PASSWORD}@{relay.endpoint}", "namespace": "pair"})
        self.link = RedisLink(settings)
        self.queue, self.accounts = RequestQueue(self.link), Accounts(self.link, settings)

    def fail_over(self) -> None:
        """The replica becomes the primary, the primary its replica, and the address leads there."""
        self.replica.order("REPLICAOF", "NO", "ONE")
        self.relay.lead_to(self.replica.endpoint)
        self.primary.follow(self.replica)


@pytest.fixture
def pair(tmp_path):
    with ExitStack() as stack:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        primary, replica = (stack.enter_context(running_redis(tmp_path / name)) for name in "ab")
        replica.follow(primary)
        pair = Pair(primary, replica, stack.enter_context(Relay(primary.endpoint)))
        stack.callback(pair.queue.close)
        yield pair


def in_threads(call):
    """Call it in several threads at once, so that each has a connection; returns what was raised."""
    start, raised = threading.Barrier(THREADS), []

    def one():
        start.wait()
        try:
            call()
        except Exception as exc:
            raised.append(exc)

    threads = [threading.Thread(target=one) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_after_a_failover_behind_one_address_every_call_goes_on(pair):
    key = pair.accounts.create("ann")
    assert in_threads(lambda: pair.queue.submit(new_task(), owner="ann")) == []

    pair.fail_over()

    assert in_threads(lambda: pair.queue.submit(new_task(), owner="ann")) == []
    pair.accounts.admit(key)
    assert pair.queue.depth().backlog == 2 * THREADS
    assert len(pair.queue.claim("w", 99)) == 2 * THREADS


def test_the_news_of_tasks_come_from_the_new_primary(pair):
    news, stop = [], threading.Event()
    listener = threading.Thread(target=pair.queue.listen, args=(news.append, stop))
    listener.start()
    wait_until(lambda: news == [None])
    pair.queue.submit(new_task(), owner="ann")

    pair.fail_over()
    pair.primary.order("REPLICAOF", "127.0.0.1", 1)  # it hears nothing of the new primary any more

    try:
        pair.queue.check()
        wait_until(lambda: news.count(None) == 2)
        last = pair.queue.submit(new_task(), owner="ann")
        pair.queue.cancel(last.id)
        wait_until(lambda: last.id in news)
    finally:
        stop.set()
        listener.join()


WAITS = {
    "requests": lambda queue: queue.wait_for_work(5),
    "picture jobs": lambda queue: queue.outcomes("client", 5),
}


@pytest.mark.parametrize("what", WAITS)
def test_who_waits_while_the_primary_becomes_a_replica_waits_at_the_new_one(pair, what):
    with ThreadPoolExecutor() as threads, Redis.from_url(pair.primary.url, decode_responses=True) as client:
        waiting = threads.submit(WAITS[what], pair.queue)
        wait_until(lambda: any("b" in one["flags"] for one in client.client_list()))

        pair.fail_over()

        assert not waiting.result(60)


def test_a_redis_without_a_free_connection_is_told_with_what_to_do(tmp_path):
    with running_redis(tmp_path) as server, Redis.from_url(server.url) as first:
        first.config_set("maxclients", 1)
        queue = RequestQueue(RedisLink(QueueSettings.model_validate({"url": server.url})))
        with pytest.raises(QueueUnavailableError, match="has as many clients as it may") as caught:
            queue.check()
        assert caught.value.trouble.state == "crowded"
        queue.close()


STATES = {
    "full": (("CONFIG", "SET", "maxmemory", 1), "is full: its maxmemory is used up", "Raise maxmemory there."),
    "read_only": (("REPLICAOF", "127.0.0.1", 1), "is a replica, which takes nothing", "Promote a replica"),
    "no_replicas": (("CONFIG", "SET", "min-replicas-to-write", 1), "has fewer replicas", "Start its replicas"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_redis_that_takes_no_more_is_told_with_what_to_do(tmp_path, state):
    order, text, remedy = STATES[state]
    with running_redis(tmp_path) as server:
        queue = RequestQueue(RedisLink(QueueSettings.model_validate({"url": server.url})))
        queue.check()
        server.order(*order)
        for call in (queue.check, lambda: queue.submit(new_task(), owner="ann")):
            with pytest.raises(QueueUnavailableError) as caught:
                call()

            assert not isinstance(caught.value, QueueAccessError)
            assert caught.value.trouble.state == state
            assert f"{text}" in str(caught.value)
            assert remedy in str(caught.value)
        queue.close()


def test_a_redis_that_cannot_persist_is_told_with_what_to_do(tmp_path):
    with running_redis(tmp_path) as server, Redis.from_url(server.url) as client:
        queue = RequestQueue(RedisLink(QueueSettings.model_validate({"url": server.url})))
        (tmp_path / "dump.rdb").mkdir()  # where the snapshot should be
        server.order("CONFIG", "SET", "save", "3600 1")
        queue.submit(new_task(), owner="ann")
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")

        for call in (queue.check, lambda: queue.submit(new_task(), owner="ann")):
            with pytest.raises(QueueUnavailableError, match="cannot write to its disk") as caught:
                call()
            assert caught.value.trouble == TROUBLES["MISCONF"]
        queue.close()


def test_a_full_redis_takes_no_requests_but_what_was_accepted_is_done(tmp_path):
    with running_redis(tmp_path) as server:
        queue = RequestQueue(RedisLink(QueueSettings.model_validate({"url": server.url})))
        for _ in range(3):
            queue.submit(new_task(), owner="ann")
        server.order("CONFIG", "SET", "maxmemory", 1)

        done, failed, back = queue.claim("w", 3)
        assert queue.renew(state("w"), [done, failed, back]) == Renewal(frozenset(), frozenset())
        queue.progress(done, 50)
        assert queue.succeed(done, result())
        assert queue.fail(failed, "no")
        queue.give_back([back])
        assert queue.cancel(back.id)
        queue.worker_ended("w")

        assert queue.depth().processing == queue.depth().backlog == 0
        assert queue.task(done.id).result == result()
        with pytest.raises(QueueUnavailableError, match="is full"):
            queue.submit(new_task(), owner="ann")
        server.order("CONFIG", "SET", "maxmemory", 0)
        queue.submit(new_task(), owner="ann")
        queue.close()

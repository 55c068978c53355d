"""Catalogs made by workers on several hosts, which share Redis and an S3 service and no file.

One fleet for both tests, which follow each other: the second kills it.
"""

import pytest

from benchmarks.fleet_hosts import Fleet, told_by
from configs.queue_settings import QueueSettings
from configs.settings import Settings
from resources.queue import open_queue
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

ROWS, HOSTS = 32, 3


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, s3_server):
    """A fleet whose workers live."""
    with running_redis(tmp_path_factory.mktemp("redis")) as redis:
        shared = {**s3_server.own_bucket().environment(), "IMAGEGENX_QUEUE__URL": redis.url}
        folder = tmp_path_factory.mktemp("fleet")
        fleet = Fleet(folder, step_s=0.3, shared=shared | {"IMAGEGENX_SERVING__CLAIM_AHEAD": "0"})
        fleet.grow(HOSTS)
        queue = open_queue(Settings(queue=QueueSettings(url=redis.url)))
        try:
            wait_until(lambda: len(queue.workers()) == HOSTS, 120)
            yield fleet
        finally:
            queue.close()
            fleet.end()


def test_every_host_paints_a_catalog_whose_run_imports_no_torch(fleet):
    told = told_by(fleet.run("shop", ROWS))

    assert (told["success"], told["torch"]) == (True, False)
    assert told["made"] == ROWS
    assert all(host.stored() for host in fleet.hosts)
    assert fleet.stored_twice() == 0


def test_hosts_and_a_run_that_are_killed_cost_no_picture_and_make_none_twice(fleet):
    before = fleet.stored()
    run = fleet.run("spring", ROWS)
    wait_until(lambda: fleet.stored() - before >= ROWS // 3, 120)
    for host in fleet.hosts[:2]:
        host.kill()
    run.kill()
    run.wait()
    left = fleet.stored() - before

    told = told_by(fleet.run("spring", ROWS))

    assert told["success"]
    assert told["made"] + told["reused"] == ROWS
    assert told["reused"] >= left
    assert fleet.stored() - before <= ROWS
    assert fleet.stored_twice() == 0

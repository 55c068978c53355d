"""Catalogs made by workers on several hosts, which share Redis and an S3 service and no file."""

import pytest

from benchmarks.fleet_hosts import Fleet, told_by
from configs.queue_settings import QueueSettings
from configs.settings import Settings
from resources.queue import open_queue
from tests.support.redis_server import running_redis
from tests.support.waiting import wait_until

ROWS = 32


@pytest.fixture(scope="module")
def shared(tmp_path_factory, s3_server):
    with running_redis(tmp_path_factory.mktemp("redis")) as redis:
        yield {**s3_server.own_bucket().environment(), "IMAGEGENX_QUEUE__URL": redis.url}


@pytest.fixture
def fleet(tmp_path, shared, request):
    own = request.node.name[:30]
    name = {"IMAGEGENX_QUEUE__NAMESPACE": own, "IMAGEGENX_STORE__PREFIX": own}
    fleet = Fleet(tmp_path, step_s=0.3, shared=shared | name | {"IMAGEGENX_SERVING__CLAIM_AHEAD": "0"})
    yield fleet
    fleet.end()


def started(fleet, count):
    """Start so many workers, and wait until they live."""
    fleet.grow(count)
    queue = QueueSettings(
        url=fleet.environment["IMAGEGENX_QUEUE__URL"], namespace=fleet.environment["IMAGEGENX_QUEUE__NAMESPACE"]
    )
    opened = open_queue(Settings(queue=queue))
    try:
        wait_until(lambda: len(opened.workers()) == count, 120)
    finally:
        opened.close()


def test_every_host_paints_a_catalog_whose_run_imports_no_torch(fleet):
    started(fleet, 3)

    told = told_by(fleet.run("shop", ROWS))

    assert (told["success"], told["torch"]) == (True, False)
    assert told["made"] == ROWS
    assert all(host.stored() for host in fleet.hosts)
    assert fleet.stored_twice() == 0


def test_hosts_and_a_run_that_are_killed_cost_no_picture_and_make_none_twice(fleet):
    started(fleet, 3)
    run = fleet.run("shop", ROWS)
    wait_until(lambda: fleet.stored() >= ROWS // 3, 120)
    for host in fleet.hosts[:2]:
        host.kill()
    run.kill()
    run.wait()
    left = fleet.stored()

    told = told_by(fleet.run("shop", ROWS))

    assert told["success"]
    assert told["made"] + told["reused"] == ROWS
    assert told["reused"] >= left
    assert fleet.stored() <= ROWS
    assert fleet.stored_twice() == 0

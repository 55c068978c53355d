"""The pool of catalog runs, on instances of our own dagster.yaml."""

import shutil

import pytest
import yaml

from configs.serving_settings import ServingSettings
from configs.settings import PACKAGE_ROOT, EngineSettings, Settings
from imagegenx_assets.catalog_assets import ASSETS
from resources.dagster_names import CATALOG_POOL
from sensors.launching import bound_pool
from tests.support.dagster_daemon import open_instance


@pytest.fixture
def instance(tmp_path):
    shutil.copyfile(PACKAGE_ROOT / "configs/dagster.yaml", tmp_path / "dagster.yaml")
    with open_instance(tmp_path) as instance:
        yield instance


def limit(instance):
    """What the pool holds, and whether that is the limit of all pools."""
    pools = {pool.name: (pool.limit, pool.from_default) for pool in instance.event_log_storage.get_pool_limits()}
    return pools.get(CATALOG_POOL)


def settings(gpu_slots, *, fleet=False):
    return Settings(serving=ServingSettings(gpu_slots=gpu_slots), engine=EngineSettings(fleet=fleet))


def test_catalog_runs_are_bounded_before_any_sensor_has_launched_one(instance):
    assert {one.op.pool for one in ASSETS} == {CATALOG_POOL}
    assert limit(instance) is None
    assert instance.global_op_concurrency_default_limit == 1

    # What the coordinator does when it meets a pool for the first time.
    instance.event_log_storage.initialize_concurrency_limit_to_default(CATALOG_POOL)

    assert limit(instance) == (1, True)


def test_a_launch_lets_as_many_runs_in_as_there_are_gpus(instance):
    bound_pool(instance, settings(2))

    assert limit(instance) == (2, False)


def test_runs_that_ask_the_fleet_need_no_gpu_of_their_own(instance):
    bound_pool(instance, settings(1, fleet=True))
    assert limit(instance) == (4, False)


def test_a_large_fleet_has_two_runs_of_catalogs_for_each_gpu(instance):
    bound_pool(instance, settings(8, fleet=True))
    assert limit(instance) == (16, False)


def test_the_limit_of_all_pools_is_nobodys_choice_for_this_one(instance):
    instance.event_log_storage.initialize_concurrency_limit_to_default(CATALOG_POOL)

    bound_pool(instance, settings(3))

    assert limit(instance) == (3, False)


@pytest.mark.parametrize("chosen", [1, 4])
def test_what_an_operator_chose_stays(instance, chosen):
    instance.event_log_storage.set_concurrency_slots(CATALOG_POOL, chosen)

    bound_pool(instance, settings(2))

    assert limit(instance) == (chosen, False)


def test_the_deployments_file_gives_every_pool_a_limit_too():
    document = yaml.safe_load((PACKAGE_ROOT / "deploy/dagster.yaml").read_text(encoding="utf-8"))

    assert document["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}

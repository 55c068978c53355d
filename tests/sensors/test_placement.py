"""Every run gets its placement, whoever asked for it. Runs of sensors: tests/end_to_end/test_ray.py."""

import json
import logging
import shutil

import pytest
from dagster import DagsterRun
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster_graphql.test.utils import execute_dagster_graphql

from configs.placement_settings import PlacementSettings
from configs.settings import PACKAGE_ROOT, EngineSettings, Settings
from sensors.placement import KUBERNETES_TAG, RAY_TAG, PlacedRunCoordinator, placement_tags
from sensors.serving_runs import SERVING_JOB
from tests.support.dagster_daemon import open_instance

ASSETS = "__ASSET_JOB"
"""Dagster's hidden job, in which its pages and backfills make assets."""
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on PythonError { message } ... on LaunchRunSuccess { run { runId } } } }"""
BACKFILL = """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on PythonError { message } ... on LaunchBackfillSuccess { backfillId } } }"""
LOCATION = "imagegenx"
REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": LOCATION}
GENERATED = {"path": ["generated_images"]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace of our definitions, on an instance of our dagster.yaml, with runs placed by Ray."""
    home = tmp_path_factory.mktemp("home")
    shutil.copyfile(PACKAGE_ROOT / "configs/dagster.yaml", home / "dagster.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEGENX_HOME", str(home))
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("IMAGEGENX_PLACEMENT__LAUNCHER", "ray")
        patch.setenv("IMAGEGENX_ENGINE__FLEET", "true")
        with open_instance(home) as instance:
            instance.add_dynamic_partitions("catalogs", ["spring", "summer"])
            target = ModuleTarget("imagegenx_assets.definitions", None, str(PACKAGE_ROOT), location_name=LOCATION)
            with create_test_daemon_workspace_context(target, instance) as context:
                yield context


def asked(workspace, query, params):
    result = execute_dagster_graphql(workspace.create_request_context(), query, {"params": params}).data
    (answer,) = result.values()
    assert answer["__typename"].endswith("Success"), answer
    return answer


def config(run: DagsterRun) -> dict:
    return json.loads(run.tags[RAY_TAG])


def test_a_materialization_of_the_pages_is_placed(workspace):
    assets = {**REPOSITORY, "pipelineName": ASSETS, "assetSelection": [GENERATED]}
    tags = [{"key": "dagster/partition", "value": "spring"}]
    params = {"selector": assets, "executionMetadata": {"tags": tags}, "mode": "default", "runConfigData": "{}"}
    run_id = asked(workspace, LAUNCH, params)["run"]["runId"]

    run = workspace.instance.get_run_by_id(run_id)
    assert config(run) == {"num_cpus": 0.5}
    assert run.tags["dagster/partition"] == "spring"


def test_a_serving_run_of_the_pages_is_placed_and_tags_of_a_person_stay(workspace):
    def launched(tags):
        serving = {**REPOSITORY, "pipelineName": SERVING_JOB}
        params = {"selector": serving, "executionMetadata": {"tags": tags}, "mode": "default", "runConfigData": "{}"}
        return workspace.instance.get_run_by_id(asked(workspace, LAUNCH, params)["run"]["runId"])

    assert config(launched([])) == {"num_cpus": 1.0, "num_gpus": 1}
    assert config(launched([{"key": RAY_TAG, "value": '{"num_gpus": 0.5}'}])) == {"num_gpus": 0.5}


@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources` is deprecated")  # in Dagster's GraphQL
def test_runs_of_a_backfill_are_placed(workspace):
    params = {"assetSelection": [GENERATED], "partitionNames": ["spring", "summer"]}
    backfill = asked(workspace, BACKFILL, params)["backfillId"]

    list(execute_backfill_iteration(workspace, logging.getLogger("backfill")))

    runs = [run for run in workspace.instance.get_runs() if run.tags.get("dagster/backfill") == backfill]
    assert runs
    assert [config(run) for run in runs] == [{"num_cpus": 0.5}] * len(runs)


def test_the_shipped_instances_place_their_runs(workspace):
    assert isinstance(workspace.instance.run_coordinator, PlacedRunCoordinator)
    for file in ("configs/dagster.yaml", "deploy/dagster.yaml"):
        assert "class: PlacedRunCoordinator" in (PACKAGE_ROOT / file).read_text(encoding="utf-8"), file


def test_runs_that_stay_on_this_machine_carry_no_tags():
    assert placement_tags(SERVING_JOB, PlacementSettings()) == {}


@pytest.mark.parametrize(("job", "resources"), [(SERVING_JOB, {"num_cpus": 3.0}), (ASSETS, {"num_cpus": 0.5})])
def test_without_gpus_no_run_asks_for_one(job, resources):
    placement = PlacementSettings(launcher="ray", worker_gpus=0, worker_cpus=3, run_memory_bytes=None)
    assert json.loads(placement_tags(job, placement)[RAY_TAG]) == resources
    on_kubernetes = PlacementSettings(launcher="kubernetes", worker_gpus=0)
    assert "gpu" not in placement_tags(job, on_kubernetes)[KUBERNETES_TAG]


def test_memory_is_asked_of_ray_for_workers_and_other_runs_apart():
    placement = PlacementSettings(launcher="ray", worker_memory_bytes=1 << 34, run_memory_bytes=1 << 30)
    memory = [json.loads(placement_tags(job, placement)[RAY_TAG])["memory"] for job in (SERVING_JOB, ASSETS)]
    assert memory == [1 << 34, 1 << 30]


def test_a_launcher_that_gives_catalogs_no_gpu_wants_workers_to_paint_for_them(tmp_path):
    with pytest.raises(ValueError, match="launcher ray gives catalog runs no GPU: it needs engine.fleet: true"):
        Settings(home=tmp_path, placement=PlacementSettings(launcher="ray"), engine=EngineSettings(fleet=False))

"""Assets follow the ones they are made from, and runs of everything set off nothing."""

import dagster as dg
import pytest

from imagegenx_assets.catalog_assets import ASSETS
from imagegenx_assets.definitions import RESOURCES, defs
from imagegenx_assets.jobs import catalog_automation
from imagegenx_assets.partitions import CATALOGS
from resources.dagster_names import STAGES

AFTER_GENERATION = {"upscaled_images", "watermarked_images", "thumbnails", "gallery"}


@pytest.fixture
def pipeline(tmp_path):
    """The assets with the stages' dependencies and conditions, made by a step that makes nothing but events."""
    specs = [spec for one in ASSETS for spec in one.specs]

    @dg.multi_asset(specs=specs, can_subset=True, partitions_def=CATALOGS)
    def stages(context):
        for spec in specs:
            if spec.key in context.selected_asset_keys:
                if spec.key.to_user_string() == context.run.tags.get("ends-before"):
                    raise RuntimeError("cancelled")
                yield dg.AssetMaterialization(spec.key, partition=context.partition_key)

    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        instance.add_dynamic_partitions("catalogs", ["shop", "other"])
        yield Pipeline(dg.Definitions(assets=[stages], resources=RESOURCES), instance)


class Pipeline:
    def __init__(self, defs, instance):
        self.defs, self.instance, self.cursor = defs, instance, None

    def make(self, *assets, catalog="shop"):
        job = self.defs.resolve_implicit_global_asset_job_def()
        selection = [dg.AssetKey(asset) for asset in assets] or None
        assert job.execute_in_process(instance=self.instance, partition_key=catalog, asset_selection=selection).success

    def make_until(self, asset, catalog):
        """A run of everything that ends before it makes one of the assets."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        made = job.execute_in_process(
            instance=self.instance,
            partition_key=catalog,
            asset_selection=[dg.AssetKey(stage) for stage in STAGES],
            tags={"ends-before": asset},
            raise_on_error=False,
        )
        assert not made.success

    def requested(self):
        """(asset, catalog) of what automation asks for now."""
        everything = dg.AssetSelection.groups("catalogs")
        result = dg.evaluate_automation_conditions(self.defs, self.instance, everything, cursor=self.cursor)
        self.cursor = result.cursor
        return {
            (node.key.to_user_string(), key)
            for node in result.results
            for key in result.get_requested_partitions(node.key)
        }


def test_a_run_of_all_assets_sets_off_nothing(pipeline):
    assert pipeline.requested() == set()
    pipeline.make()
    pipeline.make(catalog="other")

    assert [pipeline.requested() for _ in range(2)] == [set(), set()]


def test_a_run_of_all_assets_that_was_cancelled_sets_off_nothing(pipeline):
    assert pipeline.requested() == set()
    pipeline.instance.add_dynamic_partitions("catalogs", ["new"])
    pipeline.make_until("generated_images", catalog="new")

    assert [pipeline.requested() for _ in range(2)] == [set(), set()]


def test_an_asset_made_by_itself_is_followed_by_all_after_it_at_once(pipeline):
    pipeline.make()
    pipeline.make(catalog="other")
    pipeline.requested()

    pipeline.make("generated_images")

    assert pipeline.requested() == {(asset, "shop") for asset in AFTER_GENERATION}
    assert pipeline.requested() == set()


def test_a_new_catalog_waits_for_its_first_run(pipeline):
    pipeline.requested()
    pipeline.instance.add_dynamic_partitions("catalogs", ["new"])

    assert pipeline.requested() == set()


def test_the_sensor_of_automation_takes_the_catalogs_assets_alone():
    graph = defs.resolve_asset_graph()
    targets = {key.to_user_string() for key in catalog_automation.asset_selection.resolve(graph)}
    assert targets == set(STAGES)

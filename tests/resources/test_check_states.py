"""States of checks counted by the set are those of Dagster's own storage."""

from types import SimpleNamespace

from dagster import AssetCheckKey, AssetKey, DagsterInstance, DagsterRunStatus, DynamicPartitionsDefinition
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus, AssetCheckPartitionInfo
from dagster._core.storage.asset_check_state import AssetCheckState, bulk_update_asset_check_state
from hypothesis import given
from hypothesis import strategies as st

from resources.check_states import CheckStatesBySet

BY = DynamicPartitionsDefinition(name="catalogs")
PARTITIONS, GONE = ["a", "b", "c", "d"], "gone"
RUNS = ["r0", "r1", "r2"]
CHECKS = [AssetCheckKey(AssetKey(asset), name) for asset in ("x", "y") for name in ("whole", "fresh")]
WITHOUT = AssetCheckKey(AssetKey("z"), "whole")


class Dagsters:
    """Dagster's way, over given records."""

    def __init__(self, infos, statuses):
        self.infos = infos
        self._instance = SimpleNamespace(
            event_log_storage=self,
            get_runs=lambda filters: [
                SimpleNamespace(run_id=run, status=statuses[run])
                for run in filters.run_ids
                if statuses[run] in filters.statuses
            ],
        )

    def get_asset_check_partition_info(self, keys, after_storage_id=None, partition_keys=None):
        return [info for info in self.infos if info.check_key in keys]

    def get_asset_check_state(self, keys):
        empty = {key: AssetCheckState.empty() for key, _ in keys}
        return bulk_update_asset_check_state(self._instance, keys, empty)


class BySet(CheckStatesBySet, Dagsters):
    """Ours."""


ids = st.integers(1, 9)
places = [(key, name) for key in CHECKS for name in (*PARTITIONS, GONE)] + [(WITHOUT, None)]


@st.composite
def records(draw):
    """The last record of some checks of some partitions."""
    return [
        AssetCheckPartitionInfo(
            check_key=key,
            partition_key=partition,
            latest_execution_status=draw(st.sampled_from(AssetCheckExecutionRecordStatus)),
            latest_target_materialization_storage_id=draw(ids | st.none()),
            latest_planned_run_id=draw(st.sampled_from(RUNS)),
            latest_check_event_storage_id=draw(ids),
            latest_materialization_storage_id=draw(ids | st.none()),
        )
        for key, partition in draw(st.lists(st.sampled_from(places), unique=True))
    ]


@given(infos=records(), statuses=st.tuples(*[st.sampled_from(DagsterRunStatus)] * len(RUNS)))
def test_every_history_gives_the_states_of_dagsters_own_storage(infos, statuses):
    keys = [*((key, BY) for key in CHECKS), (WITHOUT, None)]
    given_ones = infos, dict(zip(RUNS, statuses, strict=True))

    with DagsterInstance.ephemeral() as store, partition_loading_context(dynamic_partitions_store=store):
        store.add_dynamic_partitions("catalogs", PARTITIONS)
        assert BySet(*given_ones).get_asset_check_state(keys) == Dagsters(*given_ones).get_asset_check_state(keys)

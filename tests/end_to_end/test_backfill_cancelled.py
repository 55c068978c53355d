"""A backfill of many catalogs that is cancelled half-way as Dagster's backfills page does it, and executed again."""

import pytest
from dagster import DagsterRunStatus
from dagster._core.execution.backfill import BulkActionStatus

from benchmarks.stand_in import PICTURE_S, write_stand_in_model
from tests.support.dagster_daemon import DaemonHome
from tests.support.dagster_web_server import ask, web_server

NAMES = [f"c{number}" for number in range(4)]
ROWS = 2
BACKFILLS = """
query Backfills { partitionBackfillsOrError { ... on PartitionBackfills { results {
  id status title numPartitions isAssetBackfill hasCancelPermission
} } } }
"""
CANCEL = """
mutation CancelBackfill($id: String!) { cancelPartitionBackfill(backfillId: $id) {
  __typename ... on CancelBackfillSuccess { backfillId }
} }
"""
EXECUTE_AGAIN = """
mutation Again($id: String!) { reexecutePartitionBackfill(
  reexecutionParams: {parentRunId: $id, strategy: FROM_FAILURE}
) { __typename ... on LaunchBackfillSuccess { backfillId } } }
"""


class Shop(DaemonHome):
    """A home folder whose pictures are painted by a stand-in."""

    location = "benchmarks.stand_in_location"

    def status(self, backfill):
        """Where a backfill stands."""
        return self.instance.get_backfill(backfill).status

    def catalogs_run(self, backfill):
        """(catalog, how it ended) of every run of a backfill."""
        runs = [run for run in self.runs() if run.tags["dagster/backfill"] == backfill]
        return [(run.tags["dagster/partition"], run.status) for run in runs]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cancelled")
    settings = {"IMAGEGENX_SERVING__SENSOR_WAIT_S": "1", PICTURE_S: "2"}
    shop = Shop(folder, settings | write_stand_in_model(folder / "model"))
    for name in NAMES:
        rows = "".join(f"r{row},a mug of {name} {row},40\n" for row in range(ROWS))
        shop.write(f"{name}.csv", f"id,text,steps\n{rows}")
    with shop.daemon():
        yield shop
    shop.instance.dispose()


@pytest.mark.timeout(900)
def test_a_backfill_cancelled_half_way_keeps_what_is_done_and_executed_again_makes_nothing_twice(shop):
    with web_server(shop.environment) as server:
        shop.until(lambda: len(shop.materialized("gallery")) >= 2, "two galleries")
        (shown,) = ask(server, BACKFILLS)["partitionBackfillsOrError"]["results"]
        cancelled = ask(server, CANCEL, id=shown["id"])["cancelPartitionBackfill"]
        shop.until(lambda: shop.status(shown["id"]) is BulkActionStatus.CANCELED, "the end of the cancelled backfill")
        done, pictures = sorted(shop.materialized("gallery")), shop.pictures()
        again = ask(server, EXECUTE_AGAIN, id=shown["id"])["reexecutePartitionBackfill"]["backfillId"]
        shop.until(lambda: shop.status(again) is BulkActionStatus.COMPLETED_SUCCESS, "the backfill executed again")

    assert shown == {
        "id": cancelled["backfillId"],
        "status": "REQUESTED",
        "title": f"{len(NAMES)} new or changed catalogs",
        "numPartitions": len(NAMES),
        "isAssetBackfill": True,
        "hasCancelPermission": True,
    }
    assert 2 <= len(done) < len(NAMES)
    first, then = shop.catalogs_run(shown["id"]), shop.catalogs_run(again)
    assert {catalog for catalog, status in first if status is DagsterRunStatus.SUCCESS} <= set(done)
    # What the cancelled runs began is made whole by itself, the rest as if they had not been there.
    assert {status for _, status in then} == {DagsterRunStatus.SUCCESS}
    assert sorted({catalog for catalog, _ in then}) == sorted(set(NAMES) - set(done))
    assert shop.materialized("gallery") == set(NAMES)
    after = shop.pictures()
    assert {path: after[path] for path in pictures} == pictures
    assert len(after) == len(NAMES) * ROWS * 3  # pictures, marked ones and thumbnails

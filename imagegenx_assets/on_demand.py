"""On-demand pictures: the asset that they are reported as, and the job whose runs make them."""

from dagster import AssetSpec, DailyPartitionsDefinition, in_process_executor, job

from ops.serve_requests import serve_requests
from resources.dagster_names import MAX_RETRIES_TAG, ON_DEMAND_IMAGES, OWNERS
from sensors.owned import part_tags
from sensors.serving_runs import SERVING_JOB

DAYS = DailyPartitionsDefinition(start_date="2026-01-01", end_offset=1)
"""One partition per day (UTC) on which requests were accepted; today's is one of them."""

on_demand_images = AssetSpec(
    ON_DEMAND_IMAGES,
    partitions_def=DAYS,
    group_name="on_demand",
    owners=OWNERS,
    kinds={"pytorch", "diffusers", "redis"},
    description="The pictures of single requests: made by serving runs, stored under YYYYMMDD/, reported in groups.",
)


@job(
    name=SERVING_JOB,
    # The sensor replaces a run that died if there is work; Dagster's own retry would take the same slot beside it.
    tags=part_tags("serving") | {MAX_RETRIES_TAG: "0"},
    # Warm models belong to a process.
    executor_def=in_process_executor,
    description="One warm engine that does what the request queue holds; the queue sensor starts as many as needed.",
)
def serving_run() -> None:
    """See the job's description."""
    serve_requests()

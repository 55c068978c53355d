"""What Dagster itself remembers of an asset: from it, a sensor goes on whose own memory is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dagster import AssetKey, DagsterInstance

_AT_ONCE = 1000


@dataclass(frozen=True)
class Observed:
    """The newest observation of a partition; `metadata` holds plain values."""

    at_s: float
    version: str
    metadata: dict[str, Any]


def latest_observations(instance: DagsterInstance, asset: AssetKey) -> dict[str, Observed]:
    """The newest observation of each partition of an asset, by partition."""
    latest: dict[str, Observed] = {}
    for partition, observed in _observations(instance, asset):
        latest.setdefault(partition, observed)
    return latest


def _observations(instance: DagsterInstance, asset: AssetKey) -> Iterator[tuple[str, Observed]]:
    """All of them, the newest first."""
    cursor, has_more = None, True
    while has_more:
        page = instance.fetch_observations(asset, limit=_AT_ONCE, cursor=cursor)
        cursor, has_more = page.cursor, page.has_more
        for record in page.records:
            event = record.event_log_entry.dagster_event
            if event and record.partition_key:
                observation = event.asset_observation_data.asset_observation
                metadata = {name: value.value for name, value in observation.metadata.items()}
                version = (observation.tags or {}).get("dagster/data_version", "")
                yield record.partition_key, Observed(record.timestamp, version, metadata)

"""Dagster's storage in PostgreSQL, in which looking up a partition is no query.

Dagster's pages ask for each partition of each check whether it exists: 75,000 queries for an asset of 5,000 catalogs.
"""

import threading
import time
from typing import Any

from dagster import StringSource
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

from resources.check_states import CheckStatesBySet

KNOWN_S = 1.0
"""A key that existed so lately exists; one that did not is looked up, since another process may just have added it."""


class PostgresStorage(DagsterPostgresStorage):
    """What `storage: postgres:` is in a dagster.yaml, with the same `postgres_url` and the same tables."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        self._event_log_storage.dispose()
        self._event_log_storage = EventLogStorage(postgres_url)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "PostgresStorage":
        """The storage that a dagster.yaml describes."""
        return cls(config_value["postgres_url"], inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """The URL alone, from an environment variable."""
        return {"postgres_url": StringSource}


class EventLogStorage(CheckStatesBySet, PostgresEventLogStorage):
    """The events of all runs; safe to use from many threads."""

    def __init__(self, postgres_url: str) -> None:
        self._partitions_lock = threading.Lock()
        self._partitions: dict[str, tuple[float, frozenset[str]]] = {}
        super().__init__(postgres_url)

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Whether there is such a key, or was within the last `KNOWN_S`."""
        if partition_key in self._known_partitions(partitions_def_name):
            return True
        return super().has_dynamic_partition(partitions_def_name, partition_key)

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Remove a key."""
        with self._partitions_lock:
            super().delete_dynamic_partition(partitions_def_name, partition_key)
            self._partitions.pop(partitions_def_name, None)

    def _known_partitions(self, name: str) -> frozenset[str]:
        with self._partitions_lock:
            read_at, keys = self._partitions.get(name, (float("-inf"), frozenset[str]()))
            if time.monotonic() - read_at > KNOWN_S:
                keys = frozenset(self.get_dynamic_partitions(name))
                self._partitions[name] = (time.monotonic(), keys)
            return keys

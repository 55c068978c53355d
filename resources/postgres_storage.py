"""Dagster's storage in PostgreSQL that waits while the server is away, and in which looking up a partition is no query.

Dagster gives a server up after a few seconds. A run then fails, and the thread that watches the runs of a code server
ends for good: no run that dies is noticed any more, and the code server does not end.

Dagster's pages ask for each partition of each check whether it exists: 30,000 queries for a lineage of 5,000 catalogs.
"""

import logging
import threading
import time
from typing import Any

import sqlalchemy
from dagster import StringSource
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage

import resources.alembic_paths  # noqa: F401 as it says
from resources.check_states import CheckStatesBySet

logger = logging.getLogger(__name__)

AWAY_S = 120.0
"""A server that is away is waited for so long, from the first connection that failed."""
_PAUSE_S = 0.5
_REFUSALS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "no password supplied")
"""What a server says that will say the same the next time."""
_NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq waits for ever for a machine that is gone without a word."""

KNOWN_S = 1.0
"""A key that existed so lately exists; one that did not is looked up, since another process may just have added it."""


class PostgresStorage(DagsterPostgresStorage):
    """What `storage: postgres:` is in a dagster.yaml, with the same `postgres_url` and the same tables."""

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        self._event_log_storage.dispose()
        self._event_log_storage = EventLogStorage(postgres_url)
        patience = _Patience()
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            sqlalchemy.event.listen(storage._engine, "do_connect", patience.connect)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "PostgresStorage":
        """The storage that a dagster.yaml describes."""
        return cls(config_value["postgres_url"], inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """The URL alone, from an environment variable."""
        return {"postgres_url": StringSource}


class _Patience:
    """Connects to a server as soon as it is there; for all threads of a process.

    The first connections of a storage, which make its tables, do without: a start tells a wrong URL at once. So do
    those of the web server, whose pages say that the database is away.
    """

    def __init__(self) -> None:
        self._away_since_s: float | None = None

    def connect(self, dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        """A connection; SQLAlchemy's event `do_connect`."""
        while True:
            try:
                connection = dialect.connect(*arguments, **(_NETWORK | options))
            except dialect.loaded_dbapi.OperationalError as exc:
                if not self._may_wait(str(exc)):
                    raise
                time.sleep(_PAUSE_S)
            else:
                self._away_since_s = None
                return connection

    def _may_wait(self, said: str) -> bool:
        if any(refusal in said for refusal in _REFUSALS):
            return False
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            logger.warning("PostgreSQL is away, and waited for: %s", " ".join(said.split()))
        return time.monotonic() - self._away_since_s < AWAY_S


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

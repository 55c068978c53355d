"""Dagster's storage in PostgreSQL that waits while the server is away.

Dagster gives a server up after a few seconds, and a run then fails.
"""

import logging
import time
from typing import Any

import sqlalchemy
from dagster import StringSource
from dagster_postgres import DagsterPostgresStorage, utils

import resources.alembic_paths
import resources.outage_lines  # noqa: F401 as it says

logger = logging.getLogger(__name__)

# It tells of each attempt in four lines, and has all that this process says later said twice.
utils.logging = logging.getLogger("dagster_postgres")  # type: ignore[assignment, attr-defined]
logging.getLogger("dagster_postgres").setLevel(logging.ERROR)

AWAY_S = 120.0
"""A server that is away is waited for so long, from the first connection that failed."""
_PAUSE_S = 0.5
_REFUSALS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "no password supplied")
"""What a server says that will say the same the next time."""
NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""libpq waits for ever for a machine that is gone without a word."""


class PostgresStorage(DagsterPostgresStorage):
    """What `storage: postgres:` is in a dagster.yaml, with the same `postgres_url` and the same tables."""

    def __init__(self, postgres_url: str, inst_data: Any = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        patience = _Patience()
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            sqlalchemy.event.listen(storage._engine, "do_connect", patience.connect)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "PostgresStorage":
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
                connection = dialect.connect(*arguments, **(NETWORK | options))
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

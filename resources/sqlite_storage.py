"""Dagster's storage in SQLite files, with connections to events that stay open.

Dagster's own opens a connection for each statement or two, and a commit that is also the last connection to its file
has SQLite write the whole log of changes back and delete it. A catalog of 20 rows then takes 2.35 s of processor time
instead of 1.8 (2026-11-30), and waits for a disk at each of its events. The files are the same, and both may use them
side by side.

A commit here waits for no disk: nothing is lost when a process is killed, but the last events may be when the machine
loses power. The files stay whole then, and a catalog without its events is run again and finds its pictures stored.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage

import resources.alembic_paths
import resources.outage_lines  # noqa: F401 as it says

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine


def url_of_file(base_dir: str, db_name: str) -> str:
    """SQLAlchemy's URL of a database file; Dagster's own leaves `%` and `?` as they are, which mean more."""
    file = os.path.abspath(os.path.join(base_dir, f"{db_name}.db"))  # noqa: PTH100, PTH118 as Dagster does
    # Dagster waits so long only for the files of events; a busy disk holds up the others just as much.
    query = {"timeout": str(SQLITE_BUSY_TIMEOUT_SECONDS)}
    return sqlalchemy.URL.create("sqlite", database=file, query=query).render_as_string()


for _module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
    _module.create_db_conn_string = url_of_file  # type: ignore[attr-defined]

_kept_engine = lru_cache(maxsize=8)(sqlalchemy.create_engine)
"""An engine compiles a statement once. Dagster makes one for each use of its runs and ticks, of which an idle daemon
has many a second; their connections are closed after each all the same.
"""
for _module in (sqlite_run_storage, sqlite_schedule_storage):
    _module.create_engine = _kept_engine  # type: ignore[attr-defined]

OPEN_FILES = 8
"""Files that stay open: the index of all runs and those of the runs that were used last, one file each."""


class SqliteStorage(DagsterSqliteStorage):
    """What `storage: sqlite:` is in a dagster.yaml, with the same files below the same `base_dir`."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = EventLogStorage(self._event_log_storage._base_dir)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "SqliteStorage":
        """The storage that a dagster.yaml describes."""
        return cls.from_local(inst_data=inst_data, **config_value)


class EventLogStorage(SqliteEventLogStorage):
    """The events of all runs; safe to use from many threads, one at a time."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator["Connection"]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def delete_events(self, run_id: str) -> None:
        """Remove the events of a run, and its file, which Dagster's own storage leaves behind empty."""
        super().delete_events(run_id)
        with self._db_lock:
            if engine := self._engines.pop(run_id, None):
                engine.dispose()
            for ending in ("", "-wal", "-shm"):
                Path(f"{self.path_for_shard(run_id)}{ending}").unlink(missing_ok=True)

    def dispose(self) -> None:
        """Close all files; the next use opens them again."""
        super().dispose()
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    def wipe(self) -> None:
        """Remove all events, and the files of all runs."""
        super().wipe()
        self.dispose()

    def _engine(self, shard: str) -> "Engine":
        if shard not in self._engines:
            self._engines[shard] = self._opened(shard)
        self._engines.move_to_end(shard)
        while len(self._engines) > OPEN_FILES:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def _opened(self, shard: str) -> "Engine":
        engine = sqlalchemy.create_engine(self.conn_string_for_shard(shard))
        sqlalchemy.event.listen(engine, "connect", _wait_for_no_disk)
        self._initdb(engine)
        return engine


def _wait_for_no_disk(connection: Any, _record: object) -> None:
    """SQLite's advice for files with a write-ahead log (https://sqlite.org/pragma.html#pragma_synchronous)."""
    connection.execute("PRAGMA synchronous=NORMAL")

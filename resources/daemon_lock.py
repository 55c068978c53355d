"""The lock of an instance's one daemon: two launch runs twice, and each undoes what the other's sensors remember."""

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from dagster import DagsterInstance

_Take = Callable[[], bool]
"""Whether this process has the lock, which it keeps as long as it lives and reaches the database."""
_LOOK_S = 1.0
_KEEP_S = 15.0
_LOST_S = 90.0
"""For so long a database that was away may take our last connection for another daemon's."""
_KEY = 0x696D61676567656E
"""Which advisory lock of a database it is: "imagegen" in ASCII."""
_FORGET_LOST_CLIENTS = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""What the server does for the lock's connection: a machine that is gone without a word has it for a minute."""


@contextmanager
def daemon_lock(instance: "DagsterInstance") -> Iterator[None]:
    """Wait until no other daemon works for an instance, and keep others waiting; says so where it waits.

    Where the database was away and another daemon was faster, this process gets SIGTERM.
    """
    url = getattr(instance.run_storage, "postgres_url", None)
    take = _database_lock(url) if url else _file_lock(Path(instance.root_directory))
    if not take():
        _say("Another daemon works for this Dagster instance; this one waits until it ends.")
        while not take():
            time.sleep(_LOOK_S)
    threading.Thread(target=_keep, args=(take,), name="daemon-lock", daemon=True).start()
    yield


def _file_lock(folder: Path) -> _Take:
    """Of an instance whose database is files: flock(2) beside them."""
    file = (folder / "daemon.lock").open("ab")

    def take() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return take


def _database_lock(url: str) -> _Take:
    """Of an instance in PostgreSQL, whose daemons may be on several machines; DBAPIError while it is away."""
    from resources.postgres_storage import NETWORK

    arguments = NETWORK | {"options": _FORGET_LOST_CLIENTS}
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool, connect_args=arguments)
    connections: list[sqlalchemy.Connection] = []

    def take() -> bool:
        try:
            connections[:] = connections or [engine.connect()]
            return bool(connections[0].scalar(sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(_KEY))))
        except DBAPIError:
            connections.clear()
            raise

    return take


def _keep(take: _Take) -> None:
    """Take the lock again after each outage of the database."""
    had_s = time.monotonic()
    while time.monotonic() - had_s < _LOST_S:
        time.sleep(_KEEP_S)
        try:
            has = take()
        except DBAPIError:
            has = True  # nobody works while the database is away
        had_s = time.monotonic() if has else had_s
    _say("Another daemon works for this Dagster instance since its database was away; this one ends.")
    os.kill(os.getpid(), signal.SIGTERM)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""The process behind `tests.support.s3_server`: OpenStack Swift's four servers as green threads of one process.

Started as `python -m tests.support.swift_process FOLDER`. Prints `ready PORT` (the S3 port) once it listens; ends when
its standard input closes, and then removes FOLDER, so that nothing outlives the process that started it, however that
one ended. Logs go to standard error.
"""

import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import eventlet  # type: ignore[import-untyped]

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from eventlet.green import socket  # type: ignore[import-untyped] # noqa: E402
from swift.common import utils  # type: ignore[import-untyped] # noqa: E402
from swift.common.ring import RingBuilder  # type: ignore[import-untyped] # noqa: E402
from swift.common.wsgi import NullLogger, SwiftHttpProtocol, loadapp  # type: ignore[import-untyped] # noqa: E402

STORAGE_SERVERS = ("account", "container", "object")


class Memory:
    """What Swift's proxy remembers of accounts and buckets, kept here, not in memcached: three times faster.

    A WSGI filter and the cache in one. As the only proxy, it sees every change, and drops what it changes.
    """

    def __init__(self, app: Callable[..., object]) -> None:
        self._app = app
        self._values: dict[str, tuple[float, object]] = {}

    def __call__(self, environ: dict[str, object], start_response: object) -> object:
        return self._app(environ | {"swift.cache": self}, start_response)

    def get(self, key: str, raise_on_error: bool = False) -> object:
        expires, value = self._values.get(key, (0.0, None))
        return value if monotonic() < expires else None

    def set(self, key: str, value: object, time: float = 0, **_options: object) -> None:
        self._values[key] = (monotonic() + (time or 3600), value)

    def delete(self, key: str, server_key: str | None = None) -> None:
        self._values.pop(key, None)


def memory_filter(_global_conf: dict[str, str], **_conf: str) -> type[Memory]:
    """The entry point that the proxy's configuration names."""
    return Memory


def log_to_stderr(_conf: dict[str, str], *args: object) -> None:
    """Swift's hook for loggers (`log_custom_handlers`): standard error instead of the machine's syslog."""
    logger = args[-2]
    assert isinstance(logger, logging.Logger)
    logger.handlers = [logging.StreamHandler(sys.__stderr__)]


def main(folder: Path) -> None:
    """Serve until standard input closes, then remove the folder."""
    utils.set_swift_dir(str(folder))
    sockets = {name: _listen() for name in (*STORAGE_SERVERS, "proxy")}
    for name in STORAGE_SERVERS:
        _write_ring(folder, name, sockets[name].getsockname()[1])
    apps = {name: loadapp(str(folder / f"{name}.conf"), global_conf={"log_name": name}) for name in sockets}
    for name, app in apps.items():
        eventlet.spawn(
            wsgi.server,
            sockets[name],
            app,
            NullLogger(),
            protocol=SwiftHttpProtocol,
            capitalize_response_headers=False,
        )
    sys.stdout.write(f"ready {sockets['proxy'].getsockname()[1]}\n")
    sys.stdout.flush()
    eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
    shutil.rmtree(folder, ignore_errors=True)


def _listen() -> "socket.socket":
    listener = eventlet.listen(("127.0.0.1", 0), backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _write_ring(folder: Path, name: str, port: int) -> None:
    """One device, one replica: where Swift finds everything."""
    builder = RingBuilder(part_power=1, replicas=1, min_part_hours=0)
    address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "device": "disk", "weight": 1, "meta": "", **address})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

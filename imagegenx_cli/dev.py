"""`imagegenx dev`: the whole stack on this machine, over the data of `imagegenx demo`."""

import fcntl
import os
import secrets
import signal
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import yaml

from configs.settings import PACKAGE_ROOT, Settings, load_settings
from foundation.errors import ImageGenXError
from foundation.private_folder import make_private
from imagegenx_cli.catalogs import SHIPPED_CATALOGS, add_partitions, register_shipped
from imagegenx_cli.embedded_dagster import code_server_folder, dagster_instance, end_dead_runs
from imagegenx_cli.keys import record_new_key
from imagegenx_cli.processes import ProcessStack
from imagegenx_cli.terminal import say
from models.registry import ModelRegistry, open_registry
from ops.catalog.home_folder import open_catalogs
from ops.catalog.problems import CatalogError
from ops.catalog.reading import catalog_name
from resources.accounts import open_accounts
from resources.open_store import open_store
from resources.queue import QueueUnavailableError, RequestQueue, open_queue
from resources.queue.redis_server import socket_parent

HOST = "127.0.0.1"
START_S = 90.0
LOCAL_USER = "local"
CODE, LOCATION = "imagegenx_assets.definitions", "imagegenx"
_PAGE_TOKEN = "IMAGEGENX_GATEWAY__PAGE_TOKEN"
_QUIET = ("--log-level", "warning")
_ENDING = (signal.SIGINT, signal.SIGTERM)


class AlreadyRunningError(ImageGenXError):
    """What `dev` needs for itself is in use."""


@dataclass(frozen=True)
class Ports:
    """Where the stack listens on this machine."""

    http: int
    grpc: int
    ui: int


def run_dev(ports: Ports) -> int:
    """Serve until Ctrl-C or SIGTERM, or until the terminal is closed; returns the exit status."""
    for number in _ENDING:
        signal.signal(number, _interrupt)
    settings = load_settings()
    for option, port in (("--http-port", ports.http), ("--grpc-port", ports.grpc), ("--ui-port", ports.ui)):
        _check_free(option, port)
    try:
        with _only_one(settings.home), _code_folder() as folder:
            say("Starting …")
            _prepare(settings)
            queue = open_queue(settings)
            queue.check()  # while we use it, the private Redis stays
            try:
                _serve(settings, ports, Path(folder), queue)
            finally:
                queue.close()
    except KeyboardInterrupt:
        say("Ended.")
    return 0


def _code_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix=code_server_folder(), dir=socket_parent())


def _serve(settings: Settings, ports: Ports, folder: Path, queue: RequestQueue) -> None:
    code_socket, workspace = write_workspace(folder)
    token = os.environ.get(_PAGE_TOKEN, secrets.token_urlsafe(24))
    with ProcessStack(settings.home / "logs") as stack, _ending_waits(queue), _ending_once():
        addresses = _addresses(settings, ports)
        engine = {**engine_threads(settings), **engine_fleet(settings)}
        stack.start("code server", code_server_command(code_socket), {**engine, **addresses})
        stack.start("gateway", [sys.executable, "-P", "-m", "gateway"], {**addresses, _PAGE_TOKEN: token})
        stack.wait_until("Dagster's code server", code_socket.exists, START_S)
        stack.start("daemon", daemon_command(workspace))
        stack.start("web server", web_server_command(workspace, ports.ui))
        stack.wait_until("the gateway", lambda: _answers(f"http://{HOST}:{ports.http}/health"), START_S)
        stack.wait_until("Dagster's web server", lambda: _answers(f"http://{HOST}:{ports.ui}/server_info"), START_S)
        _announce(settings, ports, token)
        stack.watch()


def write_workspace(folder: Path) -> tuple[Path, Path]:
    """Write where Dagster finds the code server: its socket, and the workspace file that names it."""
    code_socket, workspace = folder / "code.sock", folder / "workspace.yaml"
    location = {"grpc_server": {"socket": str(code_socket), "location_name": LOCATION}}
    workspace.write_text(yaml.safe_dump({"load_from": [location]}), encoding="utf-8")
    return code_socket, workspace


def code_server_command(code_socket: Path, module: str = CODE) -> list[str]:
    """Dagster's code server, which also starts the runs."""
    server = ["api", "grpc", "--module-name", module, "--location-name", LOCATION, "--socket", str(code_socket)]
    # Else Dagster takes modules from the folder that it happens to be started in.
    return [sys.executable, "-P", "-m", "dagster", *server, "--working-directory", str(PACKAGE_ROOT), *_QUIET]


def daemon_command(workspace: Path) -> list[str]:
    """Dagster's daemon: sensors, schedules, the run queue."""
    return [sys.executable, "-P", "-m", "imagegenx_cli.daemon", "--workspace", str(workspace), *_QUIET]


def web_server_command(workspace: Path, port: int) -> list[str]:
    """Dagster's web server, guarded."""
    place = ["--host", HOST, "--port", str(port), "--workspace", str(workspace)]
    return [sys.executable, "-P", "-m", "imagegenx_cli.web_server", *place, *_QUIET]


def _announce(settings: Settings, ports: Ports, token: str) -> None:
    say(f"Pictures: http://{HOST}:{ports.http}/{f'#token={token}' if token else ''}")
    say(f"API:      http://{HOST}:{ports.http}/docs")
    say(f"gRPC:     {HOST}:{ports.grpc}")
    say(f"Dagster:  http://{HOST}:{ports.ui}")
    say(f"Logs:     {settings.home / 'logs'}")
    if key := first_key(settings):
        say(f"API key of user {LOCAL_USER}, shown this once: {key}")
    else:
        say("API keys: `imagegenx keys create --user NAME` makes one.")
    say("Ctrl-C ends everything.")
    sys.stdout.flush()


def first_key(settings: Settings) -> str | None:
    """A key for the local user, if there is no account at all yet."""
    accounts = open_accounts(settings)
    try:
        if accounts.list():
            return None
        key = accounts.create(LOCAL_USER)
        record_new_key(settings, accounts.authenticate(key))
        return key
    finally:
        accounts.close()


def _prepare(settings: Settings) -> None:
    registry = open_registry(settings)
    store = open_store(settings.store)
    store.check()
    retired = open_catalogs(settings, store).retired_names()
    for catalog in sorted({catalog_name(file) for file in SHIPPED_CATALOGS.iterdir()} - {*retired}):
        _register_if_it_fits(catalog, settings, registry)
    with dagster_instance(settings.home) as instance:
        end_dead_runs(instance)
        add_partitions(instance, settings)


def _register_if_it_fits(catalog: str, settings: Settings, registry: ModelRegistry) -> None:
    try:
        register_shipped(catalog, settings, registry)
    except CatalogError:
        model = settings.default_model
        say(f"The shipped catalog '{catalog}' does not fit the default model '{model}' and is left out.")


def engine_threads(settings: Settings) -> Mapping[str, str]:
    """Where nothing else is configured, pictures leave one processor to all that surrounds them."""
    if settings.engine.threads or (os.cpu_count() or 1) < 2:
        return {}
    return {"IMAGEGENX_ENGINE__THREADS": str((os.cpu_count() or 2) - 1)}


def engine_fleet(settings: Settings) -> Mapping[str, str]:
    """Where nothing else is configured, serving runs make the pictures of catalogs, too: one process has models."""
    return {} if "fleet" in settings.engine.model_fields_set else {"IMAGEGENX_ENGINE__FLEET": "true"}


def _addresses(settings: Settings, ports: Ports) -> Mapping[str, str]:
    """Where the parts listen, as the pages of each link to the other."""
    return {
        "IMAGEGENX_ALERTS__UI_URL": settings.alerts.ui_url or f"http://{HOST}:{ports.ui}",
        "IMAGEGENX_GATEWAY__HOST": HOST,
        "IMAGEGENX_GATEWAY__HTTP_PORT": str(ports.http),
        "IMAGEGENX_GATEWAY__GRPC_PORT": str(ports.grpc),
    }


def _check_free(option: str, port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as exc:
            rule = f"{option} {port}: {HOST}:{port} cannot be listened on ({exc.strerror})."
            raise AlreadyRunningError(f"{rule} End what uses it, or choose another port.") from exc


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    make_private(home)
    with (home / "dev.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            rule = f"`imagegenx dev` runs already on the data in {home}."
            raise AlreadyRunningError(f"{rule} End it, or set IMAGEGENX_HOME to another folder.") from exc
        yield


@contextmanager
def _ending_waits(queue: RequestQueue) -> Iterator[None]:
    """Once the block is left, the queue sensor waits for no request: Dagster's daemon does not end before it."""
    try:
        yield
    finally:
        with suppress(QueueUnavailableError):
            queue.end_waits()


@contextmanager
def _ending_once() -> Iterator[None]:
    """Once the block is left, further signals do not disturb the ending."""
    try:
        yield
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status < 500)
    return False

"""The whole stack on a home folder of its own, with parts that can be killed and brought back."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.processes import free_port
from configs.settings import Settings, load_settings
from imagegenx_cli.dev import CODE, code_server_command, daemon_command, engine_threads, write_workspace
from imagegenx_cli.embedded_dagster import dagster_home
from imagegenx_cli.processes import ProcessStack
from resources.accounts import open_accounts
from resources.mark_records import RECORDS
from resources.queue import QueueUnavailableError, RequestQueue, open_queue
from resources.queue.redis_server import private_redis

START_S = 120.0
HOST = "127.0.0.1"


class ServingStack:
    """Code server, daemon and gateway over `home`; the settings come from the environment.

    Args:
        home: must be what IMAGEGENX_HOME names.
        location: the module that the code server loads.
    """

    def __init__(self, home: Path, http_port: int, location: str = CODE) -> None:
        self.settings: Settings = load_settings()
        self.url = f"http://{HOST}:{http_port}"
        self.queue: RequestQueue = open_queue(self.settings)
        self._environment = {
            "IMAGEGENX_GATEWAY__HTTP_PORT": str(http_port),
            "IMAGEGENX_GATEWAY__GRPC_PORT": "0",
        }
        self.home, self._location = home, location
        self._stack = ProcessStack(home / "logs")
        self._folder = tempfile.TemporaryDirectory(prefix="imagegenx-")
        self._gateway: subprocess.Popen[bytes] | None = None
        self.killed_workers: set[int] = set()
        self.key = ""

    def __enter__(self) -> "ServingStack":
        self._stack.__enter__()
        self.queue.check()
        accounts = open_accounts(self.settings)
        self.key = accounts.create("soak", qps=10_000)
        accounts.close()
        dagster_home(self.home)
        socket, self._workspace = write_workspace(Path(self._folder.name))
        self._stack.start("code server", code_server_command(socket, self._location), engine_threads(self.settings))
        self._stack.wait_until("the code server", socket.exists, START_S)
        self._stack.start("daemon", daemon_command(self._workspace))
        self.start_gateway()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_gateway()
        self._stack.stop()
        self.queue.close()
        private_redis(self.settings.queue).stop()
        self._folder.cleanup()

    def start_gateway(self) -> None:
        """Start a gateway and wait until it answers."""
        with (self.home / "logs/gateway.log").open("ab") as log:
            environment = os.environ | self._environment
            command = [sys.executable, "-m", "gateway"]
            self._gateway = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_S
        while self._answer("GET", "/health") is None:
            if self._gateway.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway does not answer; see {self.home}/logs/gateway.log")
            time.sleep(0.1)

    def redis_keys(self) -> int:
        """How many keys Redis holds."""
        from redis import Redis

        with Redis.from_url(private_redis(self.settings.queue).url) as client:
            return int(client.dbsize())

    @property
    def gateway_pid(self) -> int:
        """The gateway's process."""
        assert self._gateway
        return self._gateway.pid

    def kill_gateway(self) -> None:
        """`kill -9` the gateway."""
        if self._gateway:
            self._gateway.kill()
            self._gateway.wait()

    def restart_daemon(self) -> None:
        """`kill -9` Dagster's daemon, and start another."""
        import psutil

        for child in psutil.Process().children(recursive=True):
            if "imagegenx_cli.daemon" in child.cmdline():
                child.kill()
        self._stack.start("daemon", daemon_command(self._workspace))

    def restart_redis(self) -> None:
        """Stop the private Redis and start it again over what it kept."""
        redis = private_redis(self.settings.queue)
        redis.stop()
        redis.start()

    def worker_pids(self) -> list[int]:
        """The processes of the serving runs that send heartbeats."""
        try:
            return [int(worker.id.rsplit("-", 2)[1]) for worker in self.queue.workers()]
        except QueueUnavailableError:
            return []

    def kill_worker(self, timeout_s: float = START_S) -> None:
        """`kill -9` a serving run, as soon as there is one."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            # Heartbeats outlive their worker, and a killed process can be signalled until its parent has heard of it.
            for pid in set(self.worker_pids()) - self.killed_workers:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.killed_workers.add(pid)
                return
            time.sleep(0.05)
        raise RuntimeError(f"no serving run within {timeout_s} s")

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """The object store's folder cannot be reached inside the block: its path is a link to itself."""
        root, aside = self.settings.store.path, self.settings.store.path.with_name("store-away")
        root.rename(aside)
        root.symlink_to(root)
        try:
            yield
        finally:
            root.unlink()
            aside.rename(root)

    def submit(self, request: Mapping[str, object], idempotency_key: str) -> str:
        """Send a request until it is accepted; returns its task's id."""
        while True:
            answer = self._answer("POST", "/api/v1/image/generate", request, {"Idempotency-Key": idempotency_key})
            if answer is not None:
                return str(answer["task_id"])
            time.sleep(0.1)

    def task(self, task_id: str) -> dict[str, Any]:
        """The task, as soon as the gateway answers."""
        while (answer := self._answer("GET", f"/api/v1/image/task/{task_id}")) is None:
            time.sleep(0.1)
        return answer

    def _answer(
        self, method: str, path: str, body: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """The data of an answer; None if the gateway is away, busy or in trouble."""
        request = urllib.request.Request(
            self.url + path, method=method, data=json.dumps(body).encode() if body else None
        )
        for name, value in {"X-API-Key": self.key, "Content-Type": "application/json", **(headers or {})}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                data = json.load(answer)
        except urllib.error.HTTPError as exc:
            if exc.code in (429, 500, 502, 503):
                return None
            raise RuntimeError(f"{method} {path}: {exc.code} {exc.read().decode(errors='replace')}") from exc
        except OSError:
            return None
        found: dict[str, Any] = data.get("data") or {}
        return found


class CallbackReceiver:
    """An HTTP server that remembers the callbacks it gets: by task, the ids they came with."""

    def __init__(self) -> None:
        self.ids: dict[str, list[str]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.note(str(body), self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._bodies: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        """Host and port, as the setting `gateway.allow_private_hosts` names them."""
        return f"{HOST}:{self._server.server_port}"

    def note(self, body: str, webhook_id: str) -> None:
        """Remember a callback."""
        self._bodies.append((body, webhook_id))

    def ids_of(self, task_id: str) -> list[str]:
        """The ids of the callbacks that were about a task."""
        return [webhook_id for body, webhook_id in list(self._bodies) if task_id in body]

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def prepared_stack(location: str = CODE, **settings: str) -> Iterator[tuple[ServingStack, CallbackReceiver]]:
    """A stack over a new home folder; `settings` are environment variables."""
    receiver = CallbackReceiver()
    with tempfile.TemporaryDirectory() as folder, _environment(folder, receiver, settings):
        try:
            with ServingStack(Path(folder), free_port(), location) as stack:
                yield stack, receiver
        finally:
            receiver.close()


@contextmanager
def _environment(folder: str, receiver: CallbackReceiver, settings: dict[str, str]) -> Iterator[None]:
    former = dict(os.environ)
    os.environ.update(
        {
            "IMAGEGENX_HOME": folder,
            "DAGSTER_HOME": "",
            "IMAGEGENX_QUEUE__LEASE_S": "5",
            "IMAGEGENX_GATEWAY__ALLOW_PRIVATE_HOSTS": f'["{receiver.host}"]',
            "IMAGEGENX_CALLBACKS__FIRST_RETRY_S": "0.5",
            **settings,
        }
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def objects_of(task_id: str, keys: Sequence[str]) -> list[str]:
    """The object keys of a task's pictures."""
    own = (f"/{task_id}_", f"/{task_id}~")
    return [key for key in keys if any(mark in key for mark in own) and not key.startswith(RECORDS)]

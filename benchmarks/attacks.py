"""What one attacker costs a quiet neighbour: the neighbour's p95 under each attack, as a multiple of its quiet p95.

A gateway and a serving worker with the built-in model are processes of their own, as in a deployment, anew for each
attack of `benchmarks.attack_kinds`, which goes on in a process that gives way to the others, because a real attacker
spends processor time of another machine. The neighbour opens a connection, asks for a small picture and waits for it.
Each attack is compared with the quiet minute before it, because a machine's speed drifts.

Attacker, worker, neighbour and gateway share the cores of one machine, and whoever wants them waits for them. So the
neighbour also asks, in turn, a second gateway that nobody attacks: what a submit takes there during the attack is what
the attacker's own computing costs, and what it takes more at the first one is what the attack costs.
"""

import dataclasses
import http.client
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from benchmarks.attack_kinds import HOST, Target
from benchmarks.dagster_page import free_port
from benchmarks.serving_stack import wait_for
from configs.gateway_settings import GatewaySettings
from configs.queue_settings import QueueSettings
from configs.settings import PACKAGE_ROOT, Settings
from resources.accounts import open_accounts
from resources.queue import open_queue

PROBES, MOST_S = 40, 30.0
"""Pictures that the neighbour asks for in each part; a part ends after so many seconds even with fewer."""
LOST_S = 10.0
"""What a picture counts that was refused or did not come, s."""
GENERATE = "/api/v1/image/generate"
DESCRIPTORS = 256
START_S = 600.0
"""A worker loads torch and its model, which takes minutes where much else runs."""
LIMITS = {"picture p95, × quiet": 2.0, "submit p95, × beside": 2.0}
_BODY = json.dumps({"text": "a red mug", "params": {"resolution": "96×96", "steps": 2}})


def run(name: str, probes: int = PROBES) -> dict[str, float]:
    """p95 of a picture and of a submit under an attack, and as multiples of the quiet ones and of that beside."""
    with (
        tempfile.TemporaryDirectory() as home,
        _product(Path(home) / "attacked") as target,
        _product(Path(home) / "beside", with_worker=False) as beside,
    ):
        quiet = _neighbour(target, beside, probes)
        if quiet.lost:
            raise RuntimeError(f"{quiet.lost} pictures were lost before the attack {name}")
        with _under_attack(name, target):
            attacked = _neighbour(target, beside, probes)
    return {
        "picture p95, × quiet": attacked.picture_s / quiet.picture_s,
        "submit p95, × quiet": attacked.submit_s / quiet.submit_s,
        "submit p95, × beside": attacked.submit_s / attacked.beside_s,
        "submit p95 ms, quiet": 1000 * quiet.submit_s,
        "submit p95 ms": 1000 * attacked.submit_s,
        "submit p95 ms, beside": 1000 * attacked.beside_s,
        "picture p95 ms, quiet": 1000 * quiet.picture_s,
        "picture p95 ms": 1000 * attacked.picture_s,
        "pictures lost": attacked.lost,
    }


@dataclasses.dataclass(frozen=True)
class _P95:
    """The neighbour's waits, s; a lost picture counts as `LOST_S`."""

    submit_s: float
    picture_s: float
    beside_s: float
    lost: int


def _neighbour(target: Target, beside: Target, probes: int) -> _P95:
    waits: list[tuple[float, float, float]] = []
    lost, ends_s = 0, time.monotonic() + MOST_S
    while len(waits) < probes and time.monotonic() < ends_s:
        beside_s = _submit(beside)
        try:
            waits.append((*_picture(target), beside_s))
        except (OSError, http.client.HTTPException, RuntimeError):
            waits.append((LOST_S, LOST_S, beside_s))
            lost += 1
    submit_s, picture_s, beside_s = (_p95(column) for column in zip(*waits, strict=True))
    return _P95(submit_s, picture_s, beside_s, lost)


def _submit(target: Target) -> float:
    """Seconds until a submission was answered, which is cancelled then."""
    began_s = time.perf_counter()
    with closing(http.client.HTTPConnection(HOST, target.http_port, timeout=LOST_S)) as connection:
        task = _answer(connection, "POST", GENERATE, _headers(target), _BODY.encode())
        submit_s = time.perf_counter() - began_s
        _answer(connection, "DELETE", task["query_url"], _headers(target))
    return submit_s


def _p95(waits_s: Sequence[float]) -> float:
    return sorted(waits_s)[int(0.95 * (len(waits_s) - 1))]


def _picture(target: Target) -> tuple[float, float]:
    """Seconds until the submission was answered, and until the picture was there."""
    began_s = time.perf_counter()
    with closing(http.client.HTTPConnection(HOST, target.http_port, timeout=LOST_S)) as connection:
        task = _answer(connection, "POST", GENERATE, _headers(target), _BODY.encode())
        submit_s = time.perf_counter() - began_s
        while (wait_s := time.perf_counter() - began_s) < LOST_S:
            state = _answer(connection, "GET", task["query_url"], _headers(target))
            if state["status"] == "success":
                return submit_s, wait_s
            time.sleep(0.01)
    raise RuntimeError("the picture did not come")


def _headers(target: Target) -> dict[str, str]:
    return {"X-API-Key": target.neighbour_key, "Content-Type": "application/json"}


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> dict[str, str]:
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status}")
    data: dict[str, str] = json.loads(text)["data"]
    return data


@contextmanager
def _under_attack(name: str, target: Target) -> Iterator[None]:
    """The attack goes on inside the block; it begins once it has as much as it wants, or after a few seconds."""
    command = [sys.executable, "-m", "benchmarks.attack_kinds", name, json.dumps(dataclasses.asdict(target))]
    with subprocess.Popen(command, cwd=PACKAGE_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            if process.stdout.readline().strip() != "begun":
                raise RuntimeError(f"attack {name} ended with status {process.wait()}")
            yield
            if process.poll() is not None:
                raise RuntimeError(f"attack {name} ended with status {process.returncode} before it was told to")
        finally:
            process.kill()


@contextmanager
def _product(home: Path, *, with_worker: bool = True) -> Iterator[Target]:
    """A gateway that may have `DESCRIPTORS` open, and a worker."""
    home.mkdir()
    settings = Settings(home=home, queue=QueueSettings())
    accounts, queue = open_accounts(settings), open_queue(settings)
    queue.check()
    neighbour, attacker = (accounts.create(user, qps=10_000) for user in ("neighbour", "attacker"))
    target = Target(free_port(), free_port(), free_port(), free_port(), neighbour, attacker)
    variables = {
        f"IMAGEGENX_GATEWAY__{name.upper()}": str(getattr(target, name))
        for name in ("http_port", "grpc_port", "metrics_port")
        if name in GatewaySettings.model_fields
    }
    variables["IMAGEGENX_GATEWAY__ALLOW_PRIVATE_HOSTS"] = json.dumps([f"{HOST}:{target.drip_port}"])
    environment = os.environ | variables | {"IMAGEGENX_HOME": str(home), "IMAGEGENX_ENGINE__THREADS": "1"}
    commands = {"gateway": ["gateway"]} | ({"worker": ["benchmarks.serving", "1", "2"]} if with_worker else {})
    processes: dict[Path, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            log = home / f"{name}.log"
            with log.open("wb") as output:
                processes[log] = _started(command, environment, output.fileno(), limited=name == "gateway")
        wait_for("gateway and worker", lambda: _is_serving(target, with_worker, processes), START_S)
        yield target
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        accounts.close()
        queue.close()


def _started(command: list[str], environment: dict[str, str], log: int, *, limited: bool) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=PACKAGE_ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        preexec_fn=_limit_descriptors if limited else None,
    )


def _limit_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def _is_serving(target: Target, with_worker: bool, processes: Mapping[Path, "subprocess.Popen[bytes]"]) -> bool:
    """Whether all is there. Raises RuntimeError, with what it has said, once a process has ended."""
    for log, process in processes.items():
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{log.stem} ended with status {process.returncode}: {said}")
    try:
        health = httpx.get(f"http://{HOST}:{target.http_port}/health", timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    data = health["data"] or {}
    return bool(data.get("workers", {}).get("live") if with_worker else data)

"""What a submission takes of the gateway, and whether its ledger of usage says what the workers did.

`python -m benchmarks.gateway` is one of the ledger's workers, until it is killed.
"""

import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.processes import measured, wait_for
from benchmarks.stand_in import SteppingEngine, serve, write_stand_in_model
from configs.queue_settings import QueueSettings
from configs.settings import PACKAGE_ROOT, Settings, load_settings
from gateway.errors import ServiceError
from gateway.main import open_service
from gateway.service import GatewayService
from resources.accounts import Account, Scope
from resources.usage_ledger import UsageLedger

LIMITS = {"ms a submit, at full load": 2.5, "p99 ms at 400 submits/s": 50.0} | {
    "GPU seconds apart %": 1.0,
    "batches beyond a budget": 1.0,
}


RATE = 400
CONNECTIONS = 32
SEED = 5

BODY = json.dumps(
    {
        "text": "a red ceramic mug on a wooden table, studio light",
        "params": {"resolution": "128×128", "steps": 20, "post_process": {"format": "png"}},
    },
    ensure_ascii=False,
).encode()


def submits(seconds: float = 10) -> dict[str, float]:
    """What one gateway queues a second on one core, and how long a caller waits.

    Submits at full load, then as they come from many people: 400 a second on average, at random moments.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    try:
        with tempfile.TemporaryDirectory() as home:
            settings = Settings(home=Path(home), queue=QueueSettings())
            service = open_service(settings)
            key = service.accounts.create("bench", qps=100_000)
            with _gateway(Path(home), cores[0]) as (process, address):
                asyncio.run(_full_load(address, key, 1.0))
                spent_s, submits = _cpu_s(process), asyncio.run(_full_load(address, key, seconds))
                spent_s = _cpu_s(process) - spent_s
                waits_s = asyncio.run(_steady(address, key, seconds))
            service.queue.close()
    finally:
        os.sched_setaffinity(0, set(cores))
    waits_ms = sorted(1000 * wait_s for wait_s in waits_s)
    return {
        "submits/s, at full load": submits / seconds,
        "ms a submit, at full load": 1000 * seconds / submits,
        "core ms a submit": 1000 * spent_s / submits,
        "p50 ms at 400 submits/s": statistics.median(waits_ms),
        "p99 ms at 400 submits/s": waits_ms[int(0.99 * len(waits_ms))],
    }


@contextmanager
def _gateway(home: Path, core: int) -> Iterator[tuple["subprocess.Popen[str]", tuple[str, int]]]:
    """A gateway process on one core, and where it listens; the queue never fills."""
    given = {"HOME": home, "GATEWAY__HTTP_PORT": 0, "GATEWAY__GRPC_PORT": 0, "QUEUE__MAX_WAITING": 10_000_000}
    variables = {f"IMAGEGENX_{name}": str(value) for name, value in given.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway"],
        cwd=PACKAGE_ROOT,
        env={**os.environ, **variables, "IMAGEGENX_LOGS__LEVEL": "info"},
        stderr=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(process.pid, {core})
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "HTTP on" in line)
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        url = urlsplit(re.findall(r"http://\S+", line)[0])
        yield process, (url.hostname or "", url.port or 0)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()
        drain.wait()


def _cpu_s(process: "subprocess.Popen[str]") -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Caller:
    """One kept connection: the thinnest HTTP client, so that the load costs little of the machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader, self._writer = reader, writer
        head = f"POST /api/v1/image/generate HTTP/1.1\r\nHost: bench\r\nX-API-Key: {key}\r\nContent-Length: {len(BODY)}"
        self._request = f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + BODY

    async def submit(self) -> None:
        """Send the request and read the answer."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        await self._reader.readexactly(int(length[1]))


@asynccontextmanager
async def _callers(address: tuple[str, int], key: str) -> AsyncIterator[Sequence[_Caller]]:
    pairs = [await asyncio.open_connection(*address) for _ in range(CONNECTIONS)]
    yield [_Caller(reader, writer, key) for reader, writer in pairs]
    for _, writer in pairs:
        writer.close()
        await writer.wait_closed()


async def _full_load(address: tuple[str, int], key: str, seconds: float) -> int:
    """How many submits are answered in this time, with half of the connections always busy."""
    ends_s, submits = time.perf_counter() + seconds, 0

    async def keep_busy(caller: _Caller) -> None:
        nonlocal submits
        while time.perf_counter() < ends_s:
            await caller.submit()
            submits += 1

    async with _callers(address, key) as callers:
        await asyncio.gather(*map(keep_busy, callers[: CONNECTIONS // 2]))
    return submits


async def _steady(address: tuple[str, int], key: str, seconds: float) -> list[float]:
    """The waits of submits that do not wait for each other, from the moment each was due, s."""
    chance, waits_s, tasks = random.Random(SEED), [], []
    async with _callers(address, key) as callers:
        free: asyncio.Queue[_Caller] = asyncio.Queue()
        for caller in callers:
            free.put_nowait(caller)

        async def submit(due_s: float) -> None:
            caller = await free.get()
            await caller.submit()
            free.put_nowait(caller)
            waits_s.append(time.perf_counter() - due_s)

        due_s = time.perf_counter()
        ends_s = due_s + seconds
        while (due_s := due_s + chance.expovariate(RATE)) < ends_s:
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(submit(due_s)))
        await asyncio.gather(*tasks)
    return waits_s


REQUESTS, KILLS = 2_000, 20
USERS, WORKERS = 20, 2
"""Every other user has a budget of `BUDGET_S`."""
STEP_S, STEPS = 0.05, 10
BUDGET_S = 6.0
CANCELLED = 0.1
"""Share of the requests."""
PATIENCE_S = 1800.0


def ledger(requests: int = REQUESTS, kills: int = KILLS) -> dict[str, float]:
    """How far the ledger is from the sum of the workers' steps, and how far a user came beyond a hard budget."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **write_stand_in_model(Path(folder) / "models"),
            "IMAGEGENX_HOME": folder,
            "IMAGEGENX_QUEUE__MAX_WAITING": str(2 * requests),
            "IMAGEGENX_USAGE__ASSUMED_GPU_S": str(STEP_S * STEPS / 8),
            "IMAGEGENX_USAGE__BUDGETS": json.dumps({"free": {"gpu_s_per_day": BUDGET_S}}),
        }
        figures: dict[str, float] = measured(apart, requests, kills, environment=environment)
        return figures


class _NotingEngine(SteppingEngine):
    """Notes every step that it has done, where a kill loses none."""

    def _step(self) -> None:
        super()._step()
        with _notes().open("a", encoding="utf-8") as notes:
            notes.write(f"{STEP_S}\n")


class _Workers:
    """Worker processes, of which one after the other is killed."""

    def __init__(self) -> None:
        self._running = [self._start() for _ in range(WORKERS)]

    def kill_one(self, dice: random.Random) -> None:
        """`kill -9`, and another in its place."""
        place = dice.randrange(WORKERS)
        self._end(self._running[place])
        self._running[place] = self._start()

    def end(self) -> None:
        """Kill all of them."""
        for worker in self._running:
            self._end(worker)

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "benchmarks.gateway"])

    def _end(self, worker: "subprocess.Popen[bytes]") -> None:
        worker.kill()
        worker.wait()


def apart(requests: int, kills: int) -> dict[str, float]:
    """The figures, with the settings of the environment."""
    service, workers, dice = open_service(load_settings()), _Workers(), random.Random(5)
    accounts = [_account(service, place) for place in range(USERS)]
    began = time.monotonic()
    try:
        tasks, refused, killed = [], 0, 0
        for number in range(requests):
            try:
                tasks.append(service.submit(accounts[number % USERS], {"text": f"mug {number}"}).id)
            except ServiceError as exc:
                if exc.code != 402:
                    raise
                refused += 1
            if tasks and dice.random() < CANCELLED:
                service.queue.cancel(dice.choice(tasks))
            wait_for("room", lambda: _waiting(service, tasks[-200:]) < 150, PATIENCE_S)
            if killed < kills * number / requests:
                workers.kill_one(dice)
                killed += 1
        wait_for("the end of all tasks", lambda: not _waiting(service, tasks), PATIENCE_S)
    finally:
        workers.end()
    seconds = time.monotonic() - began
    return {"requests": requests, "refused": refused, "kills": killed, "seconds": seconds, **_apart(service, accounts)}


def _apart(service: GatewayService, accounts: Sequence[Account]) -> dict[str, float]:
    ledger, today = UsageLedger(service.store, service.queue), datetime.now(UTC).date()
    ledger.collect()
    entries = list(ledger.entries(today - timedelta(1), today))
    told_s = sum(entry.gpu_ms for entry in entries) / 1000
    done_s = sum(map(float, _notes().read_text(encoding="utf-8").split()))
    budgeted = [account.user_id for account in accounts if account.role == "free"]
    most_s = max(sum(entry.gpu_ms for entry in entries if entry.owner == user) / 1000 for user in budgeted)
    return {
        "GPU seconds of the workers": done_s,
        "GPU seconds of the ledger": told_s,
        "GPU seconds apart %": 100 * abs(told_s - done_s) / done_s,
        "batches beyond a budget": max(0.0, most_s - BUDGET_S) / (STEP_S * STEPS),
    }


def _account(service: GatewayService, place: int) -> Account:
    key = service.accounts.create(f"user-{place}", role="paid" if place % 2 else "free")
    return service.authenticate(key, Scope.SUBMIT)


def _waiting(service: GatewayService, tasks: Sequence[str]) -> int:
    return sum(task is not None and not task.status.ended for task in service.queue.tasks(tasks))


def _notes() -> Path:
    return Path(os.environ["IMAGEGENX_HOME"]) / "steps"


if __name__ == "__main__":
    serve(_NotingEngine(STEP_S, STEPS))

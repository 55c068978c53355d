"""What queueing takes: of the request queue by itself, and of the gateway."""

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
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from configs.queue_settings import QueueSettings
from configs.settings import PACKAGE_ROOT, Settings
from gateway.main import open_service
from models.request import GenerationRequest
from resources.queue import NewTask, RequestQueue, TaskPicture, TaskResult, new_task_id
from resources.queue.link import RedisLink

LIMITS = {"ms a submit, at full load": 2.5, "p99 ms at 400 submits/s": 50.0}


_KEY = "20261123/img_64x64.webp"
_PICTURE = TaskPicture(
    original_key=_KEY, thumb_key=_KEY, width_px=64, height_px=64, format="webp", size_bytes=1, seed=0, recipe="{}"
)
_RESULT = TaskResult(pictures=(_PICTURE,))


def queue_throughput(tasks: int = 2000, callers: int = 16) -> dict[str, float]:
    """Submissions and ends a second, processor time of one each, and the bytes a waiting task takes.

    On a private Redis that syncs each; callers are as many threads as a busy gateway has at once, whose changes share a
    sync to disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        queue = RequestQueue(RedisLink(QueueSettings(path=Path(folder) / "redis")))
        try:
            return _figures(queue, tasks, callers)
        finally:
            queue.close()


def _figures(queue: RequestQueue, tasks: int, callers: int) -> dict[str, float]:
    request = GenerationRequest(text="a cup on a table", model_type="tiny")

    def submit() -> int:
        queue.submit(NewTask(id=new_task_id(), request=request), owner="bench")
        return 1

    def serve() -> int:
        claims = queue.claim("bench", 16)
        return sum(queue.succeed(claim, _RESULT) for claim in claims)

    queue.check()
    before = _memory_bytes(queue)
    submits_s, submit_us = _rate(submit, tasks, callers)
    task_bytes = (_memory_bytes(queue) - before) / tasks
    ends_s, end_us = _rate(serve, tasks, callers)
    return {
        "submits a second": submits_s,
        "processor µs of a submit": submit_us,
        "claims and ends a second": ends_s,
        "processor µs of a claim and end": end_us,
        "bytes of a waiting task": task_bytes,
    }


def _rate(work: Callable[[], int], wanted: int, callers: int) -> tuple[float, float]:
    """Tasks a second, and this process's processor time of one in µs, until every caller has had its share."""
    share = wanted // callers

    def caller() -> int:
        done = 0
        while done < share and (more := work()):
            done += more
        return done

    began_s, spent_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(callers) as threads:
        done = sum(job.result() for job in [threads.submit(caller) for _ in range(callers)])
    return done / (time.perf_counter() - began_s), (time.process_time() - spent_s) / done * 1e6


def _memory_bytes(queue: RequestQueue) -> int:
    return int(queue._link.call(lambda client: client.info("memory"))["used_memory"])


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

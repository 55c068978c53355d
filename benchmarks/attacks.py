"""What one attacker costs a quiet neighbour: the neighbour's p95 under each attack, as a multiple of its quiet p95.

A gateway and a serving worker with the built-in model are processes of their own, as in a deployment, anew for each
attack, which goes on in a process that gives way to the others, because a real attacker
spends processor time of another machine. The neighbour opens a connection, asks for a small picture and waits for it.
Each attack is compared with the quiet minute before it, because a machine's speed drifts.

Attacker, worker, neighbour and gateway share the cores of one machine, and whoever wants them waits for them. So the
neighbour also asks, in turn, a second gateway that nobody attacks: what a submit takes there during the attack is what
the attacker's own computing costs, and what it takes more at the first one is what the attack costs.

An attack is a coroutine function that takes a `Target` and is listed in ATTACKS; it sets `begun` once it does its
worst. `python -m benchmarks.attacks NAME TARGET` goes on with it until it is killed.
"""

import asyncio
import dataclasses
import http.client
import io
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx
from PIL import Image

from benchmarks.processes import free_port, wait_for
from configs.gateway_settings import GatewaySettings
from configs.queue_settings import QueueSettings
from configs.settings import PACKAGE_ROOT, Settings
from resources.accounts import open_accounts
from resources.queue import open_queue

HOST = "127.0.0.1"
SOCKETS = 300
BEGIN_S = 5.0
"""An attack that cannot get all it wants begins to count after so long, s."""
_SMALL = json.dumps({"text": "a mug", "params": {"resolution": "96x96"}})


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the product listens, and the API keys of its two users."""

    http_port: int
    grpc_port: int
    metrics_port: int
    drip_port: int
    neighbour_key: str
    attacker_key: str

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://{HOST}:{self.http_port}"


Attack = Callable[[Target, asyncio.Event], Coroutine[Any, Any, None]]


async def idle_sockets(target: Target, begun: asyncio.Event) -> None:
    """Connections that say nothing; one that is closed is opened anew."""
    await _hold(target, begun, b"", b"")


async def half_headers(target: Target, begun: asyncio.Event) -> None:
    """Connections whose headers never end: one more every few seconds."""
    await _hold(target, begun, b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-More: 1\r\n")


async def half_bodies(target: Target, begun: asyncio.Event) -> None:
    """Connections whose bodies never end: one byte more every few seconds."""
    head = f"POST /api/v1/image/generate HTTP/1.1\r\nHost: x\r\nX-API-Key: {target.attacker_key}\r\n"
    await _hold(target, begun, f"{head}Content-Length: 10000\r\n\r\n".encode(), b" ")


async def huge_headers(target: Target, begun: asyncio.Event) -> None:
    """Connections that send headers as fast as they are taken, without an end."""

    async def send() -> None:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, target.http_port)
            writer.write(b"GET / HTTP/1.1\r\nX-Long: ")
            begun.set()
            for _ in range(3200):
                writer.write(bytes(65_536).replace(b"\0", b"a"))
                await writer.drain()
            writer.close()

    await _keep_doing(send, 4)


async def health_watches(target: Target, begun: asyncio.Event) -> None:
    """8,000 watches of the gRPC health service, without a key."""

    async def watch(channel: grpc.aio.Channel) -> None:
        call: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
        while True:
            with suppress(grpc.aio.AioRpcError):
                async for _ in call(b""):
                    pass
            await asyncio.sleep(1)

    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"{HOST}:{target.grpc_port}", options=options) for _ in range(16)]
    await asyncio.gather(*(watch(channels[number % 16]) for number in range(8_000)))


async def scrapes(target: Target, begun: asyncio.Event) -> None:
    """100 clients that ask for the metrics again and again."""

    async def scrape(client: httpx.AsyncClient) -> None:
        while True:
            try:
                await client.get("/metrics")
            except httpx.HTTPError:
                await asyncio.sleep(0.1)

    async with httpx.AsyncClient(
        base_url=f"http://{HOST}:{target.metrics_port}", timeout=30, limits=httpx.Limits(max_connections=None)
    ) as client:
        await asyncio.gather(*(scrape(client) for _ in range(100)))


async def refused_uploads(target: Target, begun: asyncio.Event) -> None:
    """Forms with three large pictures and a request that is refused."""
    files = {name: (name, _padded_png(19_000_000)) for name in ("image", "mask", "control_image")}
    request = {"request": json.dumps({"text": "a mug", "params": {"steps": 0}})}
    async with _attacker(target) as client:

        async def upload() -> None:
            await client.post("/api/v1/image/generate", data=request, files=files)
            begun.set()

        await _keep_doing(upload, 2)


async def submits_and_cancels(target: Target, begun: asyncio.Event) -> None:
    """Long prompts at 30 a second, each cancelled at once."""
    asked = {"text": "長" * 10_000, "params": {"negative_text": "長" * 10_000}}
    async with _attacker(target) as client:

        async def submit() -> None:
            began_s = asyncio.get_running_loop().time()
            answer = await client.post("/api/v1/image/generate", json=asked)
            if answer.status_code == 200:
                await client.delete(answer.json()["data"]["query_url"])
            begun.set()
            await asyncio.sleep(max(0.0, began_s + 4 / 30 - asyncio.get_running_loop().time()))

        await _keep_doing(submit, 4)


async def scan_bombs(target: Target, begun: asyncio.Event) -> None:
    """Small progressive JPEGs of thousands of scans, as pictures and as masks in both forms."""
    costly = _many_scans(3000)
    async with _attacker(target) as client:

        async def upload() -> None:
            files = {"image": ("a.jpg", costly), "mask": ("m.jpg", costly)}
            await client.post("/api/v1/image/generate", data={"request": _SMALL}, files=files)
            begun.set()

        async def edit() -> None:
            files = {"image": ("a.png", _padded_png(1)), "mask": ("m.jpg", costly)}
            await client.post("/v1/images/edits", data={"prompt": "a mug", "size": "96x96"}, files=files)

        await asyncio.gather(_keep_doing(upload, 4), _keep_doing(edit, 4))


async def large_webps(target: Target, begun: asyncio.Event) -> None:
    """Two pictures of 64 megapixels in 34 bytes each, a request."""
    webp = _webp_header(8_000, 8_000)
    async with _attacker(target) as client:

        async def upload() -> None:
            files = {"image": ("a.webp", webp), "mask": ("m.webp", webp)}
            await client.post("/api/v1/image/generate", data={"request": _SMALL}, files=files)
            begun.set()

        await _keep_doing(upload, 4)


async def dripping_pictures(target: Target, begun: asyncio.Event) -> None:
    """60 requests with a picture whose bytes come one by one; one that ends is sent again."""
    await _drip(target, begun, cancel=False)


async def cancelled_pictures(target: Target, begun: asyncio.Event) -> None:
    """The same, each cancelled once it is accepted."""
    await _drip(target, begun, cancel=True)


ATTACKS: Mapping[str, Attack] = {
    attack.__name__: attack
    for attack in (
        idle_sockets,
        half_headers,
        half_bodies,
        huge_headers,
        health_watches,
        scrapes,
        refused_uploads,
        submits_and_cancels,
        scan_bombs,
        large_webps,
        dripping_pictures,
        cancelled_pictures,
    )
}


async def _hold(target: Target, begun: asyncio.Event, head: bytes, drip: bytes) -> None:
    """Hold SOCKETS connections that have sent `head` and go on with `drip`."""
    open_ones = 0

    async def connect() -> None:
        nonlocal open_ones
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(HOST, target.http_port)
            open_ones += 1
            if open_ones == SOCKETS:
                begun.set()
            try:
                writer.write(head)
                while not reader.at_eof():
                    writer.write(drip)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(4096), 3)
            finally:
                open_ones -= 1
                writer.close()

    await _keep_doing(connect, SOCKETS)


async def _drip(target: Target, begun: asyncio.Event, *, cancel: bool) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.5)

    asked = {"text": "a mug", "params": {"resolution": "96x96"}, "image_url": f"http://{HOST}:{target.drip_port}/"}
    async with await asyncio.start_server(answer, HOST, target.drip_port), _attacker(target) as client:

        async def submit() -> None:
            sent = await client.post("/api/v1/image/generate", json=asked)
            if sent.status_code != 200:
                return
            task = sent.json()["data"]["query_url"]
            if cancel:
                await client.delete(task)
            while (look := await client.get(task)).status_code == 200:
                if look.json()["data"]["status"] not in ("waiting", "processing"):
                    return
                await asyncio.sleep(1)

        asyncio.get_running_loop().call_later(BEGIN_S / 2, begun.set)
        await _keep_doing(submit, 60)


async def _keep_doing(step: Callable[[], Awaitable[None]], at_once: int) -> None:
    async def repeat() -> None:
        while True:
            try:
                await step()
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(repeat() for _ in range(at_once)))


def _attacker(target: Target) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=target.url, headers={"X-API-Key": target.attacker_key}, timeout=60)


def _many_scans(scans: int) -> bytes:
    """A progressive JPEG of 4096² px whose last scan is there again and again."""
    file = io.BytesIO()
    Image.new("RGB", (4096, 4096), "teal").save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + scans * data[data.rindex(b"\xff\xda") : -2] + b"\xff\xd9"


def _webp_header(width_px: int, height_px: int) -> bytes:
    """A lossless WebP of one colour (RFC 9649): a header, and codes of no length."""
    body = b"\x2f" + struct.pack("<I", (width_px - 1) | (height_px - 1) << 14) + bytes(9)
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _padded_png(size_bytes: int) -> bytes:
    """A PNG of one black pixel, made large by a chunk that nobody reads."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    padding = chunk(b"prVt", os.urandom(size_bytes))
    return b"\x89PNG\r\n\x1a\n" + header + padding + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


async def _go_on(attack: Attack, target: Target) -> None:
    begun = asyncio.Event()
    going_on = asyncio.create_task(attack(target, begun))
    with suppress(TimeoutError):
        await asyncio.wait_for(begun.wait(), BEGIN_S)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    await going_on


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
    command = [sys.executable, "-m", "benchmarks.attacks", name, json.dumps(dataclasses.asdict(target))]
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


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(_go_on(ATTACKS[sys.argv[1]], Target(**json.loads(sys.argv[2]))))

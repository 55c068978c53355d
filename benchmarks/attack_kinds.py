"""The attacks of `benchmarks.attacks`: `python -m benchmarks.attack_kinds NAME TARGET` goes on until it is killed.

An attack is a coroutine function that takes a `Target` and is listed in ATTACKS; `begun` is set once it does its worst.
"""

import asyncio
import dataclasses
import io
import json
import os
import struct
import sys
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import grpc
import httpx
from PIL import Image

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
    async with _client(target) as client:

        async def upload() -> None:
            await client.post("/api/v1/image/generate", data=request, files=files)
            begun.set()

        await _keep_doing(upload, 2)


async def submits_and_cancels(target: Target, begun: asyncio.Event) -> None:
    """Long prompts at 30 a second, each cancelled at once."""
    asked = {"text": "長" * 10_000, "params": {"negative_text": "長" * 10_000}}
    async with _client(target) as client:

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
    async with _client(target) as client:

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
    async with _client(target) as client:

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
    async with await asyncio.start_server(answer, HOST, target.drip_port), _client(target) as client:

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


def _client(target: Target) -> httpx.AsyncClient:
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


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(_go_on(ATTACKS[sys.argv[1]], Target(**json.loads(sys.argv[2]))))

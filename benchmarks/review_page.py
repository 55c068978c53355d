"""What a key costs on the review page of a catalog of 5,000 pictures: from the key to the page as it is drawn then."""

import socket
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from pydantic import SecretStr

from benchmarks.dagster_page import free_port
from configs.settings import Settings
from gateway.http_app import build_app
from gateway.http_server import HttpLimits, HttpServer
from gateway.main import open_service
from io_managers.image_set import ManifestRow, Status, encode_manifest, manifest_key
from ops.catalog import Registration
from ops.catalog.registered import REGISTERED
from resources.dagster_names import THUMBNAILS, WATERMARKED_IMAGES
from resources.object_store import ObjectStore

PICTURES, KEYS = 5_000, 200
LIMITS = {"key, p95 ms": 100.0}
_TOKEN = "benchmark"
_TIMED = """(keys) => new Promise((resolve) => {
  const taken = [];
  const next = () => {
    if (!keys.length) return resolve(taken);
    const began = performance.now();
    document.dispatchEvent(new KeyboardEvent("keydown", {key: keys.shift(), bubbles: true}));
    requestAnimationFrame(() => setTimeout(() => { taken.push(performance.now() - began); next(); }));
  };
  next();
})"""


def run() -> dict[str, float]:
    """Milliseconds from a key to the frame after it, over approving, rejecting, starring and moving."""
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder)) as (url, store):
        _store_catalog(store)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.goto(f"{url}/catalogs/large#token={_TOKEN}")
            page.wait_for_selector("html[data-ready]")
            ready_ms = page.evaluate("performance.now()")
            taken: list[float] = page.evaluate(_TIMED, ["a", "r", "s", "ArrowDown"] * (KEYS // 4))
            browser.close()
    p95 = statistics.quantiles(taken, n=20)[-1]
    return {"key, median ms": statistics.median(taken), "key, p95 ms": p95, "page ready, ms": float(ready_ms)}


@contextmanager
def _gateway(home: Path) -> Iterator[tuple[str, ObjectStore]]:
    port = free_port()
    gateway: dict[str, Any] = {"http_port": port, "grpc_port": 0, "page_token": SecretStr(_TOKEN)}
    service = open_service(Settings.model_validate({"home": home, "gateway": gateway}))
    service.store.check()
    app = build_app(service)
    server = HttpServer(app, HttpLimits(100, 100, 2))
    thread = threading.Thread(target=lambda: server.run(sockets=[socket.create_server(("127.0.0.1", port))]))
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}", service.store
    finally:
        app.state.face.changes.close()
        server.should_exit = True
        thread.join()
        service.queue.close()


def _store_catalog(store: ObjectStore) -> None:
    rows = [
        ManifestRow(
            f"sku-{n}",
            Status.MADE,
            key=f"pictures/00/{n:064x}.webp",
            text=f"a mug on white, number {n}",
            format="webp",
            model="tiny",
            width_px=512,
            height_px=512,
            recipe_digest=f"{n:064x}",
        )
        for n in range(PICTURES)
    ]
    for asset in (WATERMARKED_IMAGES, THUMBNAILS):
        store.put(manifest_key(asset, "large"), encode_manifest(rows), content_type="application/octet-stream")
    registration = Registration("large", "large.csv", "0" * 64, "0" * 64)
    store.put(f"{REGISTERED}large.json", registration.to_json(), content_type="application/json")

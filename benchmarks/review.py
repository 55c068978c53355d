"""The review page: what a key costs on it, and a content lead's day with the running product."""

import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright
from pydantic import SecretStr

from benchmarks.processes import free_port, wait_for
from benchmarks.serving_stack import ServingStack, prepared_stack
from configs.settings import Settings
from gateway.http_app import build_app
from gateway.http_server import HttpLimits, HttpServer
from gateway.main import open_service
from io_managers.image_set import ManifestRow, Status, encode_manifest, manifest_key
from ops.catalog.registered import REGISTERED, Registration
from ops.review.catalog_view import CatalogViews
from ops.review.verdicts import State
from resources.dagster_names import THUMBNAILS, WATERMARKED_IMAGES
from resources.object_store import ObjectStore
from resources.open_store import open_store

LARGE, KEYS = 5_000, 200
"""Pictures of the page on which keys are timed, and how many."""
PICTURES, EVERY, GIVEN_UP = 200, 10, 5
"""Of the day; one in so many is rejected at first."""
LIMITS = {
    "key, p95 ms": 100.0,
    "verdicts lost": 0.0,
    "pictures not delivered": 0.0,
    "others delivered": 0.0,
    "s a verdict": 1.0,
}
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
_PATIENCE_S = 900.0
_CATALOG = """\
rows_from: products.csv
template: "a {Colour} {Product} on a {Ground} background"
columns: {id: SKU}
carry: [Product, Colour]
defaults: {resolution: 96x96, steps: 4}
review: required
remake: 1
owner: ann@shop.example
"""
_PRODUCTS = ("mug", "dress", "lamp", "hat", "teapot")
_COLOURS = ("red", "teal", "yellow", "purple", "black", "white", "green", "brown")
_GROUNDS = ("white", "grey", "beige", "pink", "mint")


def page() -> dict[str, float]:
    """Milliseconds from a key to the frame after it, among 5,000 pictures: verdicts, stars and moving."""
    with tempfile.TemporaryDirectory() as folder, _gateway(Path(folder)) as (url, store):
        _store_catalog(store)
        with _browser() as shown:
            _visit(shown, url, "large")
            ready_ms = shown.evaluate("performance.now()")
            taken: list[float] = shown.evaluate(_TIMED, ["a", "r", "s", "ArrowDown"] * (KEYS // 4))
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
        for n in range(LARGE)
    ]
    for asset in (WATERMARKED_IMAGES, THUMBNAILS):
        store.put(manifest_key(asset, "large"), encode_manifest(rows), content_type="application/octet-stream")
    registration = Registration("large", "large.csv", "0" * 64, "0" * 64)
    store.put(f"{REGISTERED}large.json", registration.to_json(), content_type="application/json")


def day(pictures: int = PICTURES) -> dict[str, float]:
    """What was lost, and how long things took, while a spreadsheet of products became approved, delivered pictures.

    The table goes into the inbox; a person reviews by keys in a browser: 180 are approved, 20 rejected and made again,
    of which 15 are approved then and 5 given up. Gateway and daemon are killed (`kill -9`) in between.
    """
    settings = {"IMAGEGENX_GATEWAY__PAGE_TOKEN": _TOKEN, "IMAGEGENX_CATALOG_SOURCE__INTERVAL_S": "2"}
    with prepared_stack(**settings) as (stack, _), _browser() as shown:
        store = open_store(stack.settings.store)
        views, began_s = CatalogViews(store), time.monotonic()
        _drop(stack.home / "inbox", pictures)
        wait_for("the pictures", lambda: len(_waiting(views)) == pictures, _PATIENCE_S)
        made_s = time.monotonic()
        _visit(shown, stack.url, "shop")
        keys = "".join("r" if number % EVERY == 0 else "a" for number in range(pictures))
        typed_s = _review(shown, keys, stack)
        reviewed = Counter(one.state for one in views.verdicts("shop").all())
        wait_for("the remade pictures", lambda: len(_waiting(views)) == keys.count("r"), _PATIENCE_S)
        again = "r" * GIVEN_UP + "a" * (keys.count("r") - GIVEN_UP)
        shown.locator("#states .unreviewed").click()
        expect(shown.locator(".cell")).to_have_count(len(again), timeout=60_000)
        _press(shown, again)
        wait_for("the publication", lambda: len(_published(store)) >= pictures - GIVEN_UP, _PATIENCE_S)
        ended_s = time.monotonic()
        said = Counter(one.state for one in views.verdicts("shop").all())
        states = views.verdicts("shop").standings()
        published = {Path(key).stem for key in _published(store)}
        approved = {row.row_id for row in views.get("shop").rows if states[row.recipe_digest].state is State.APPROVED}
    expected = {State.APPROVED: (keys + again).count("a"), State.REJECTED: (keys + again).count("r")}
    return {
        "pictures": pictures,
        "approved at first": reviewed[State.APPROVED],
        "delivered": len(published),
        "verdicts lost": sum(max(0, count - said[state]) for state, count in expected.items()),
        "pictures not delivered": len(approved - published) + abs(len(approved) - (pictures - GIVEN_UP)),
        "others delivered": len(published - approved),
        "s a verdict": typed_s / pictures,
        "from the table to the pictures, s": made_s - began_s,
        "from the table to the delivery, s": ended_s - began_s,
    }


def _drop(inbox: Path, pictures: int) -> None:
    """Bring the table, and then the catalog that says what to make of it."""
    rows = (f"sku-{n},{_PRODUCTS[n % 5]},{_COLOURS[n // 5 % 8]},{_GROUNDS[n // 40 % 5]}" for n in range(pictures))
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / "products.csv").write_text("\n".join(("SKU,Product,Colour,Ground", *rows, "")), encoding="utf-8")
    (inbox / "shop.yaml.part").write_text(_CATALOG, encoding="utf-8")
    (inbox / "shop.yaml.part").rename(inbox / "shop.yaml")


def _review(page: Page, keys: str, stack: ServingStack) -> float:
    """Press all keys, the gateway away for some and the daemon killed after others; returns the seconds of pressing."""
    third = len(keys) // 3
    typed_s = _press(page, keys[:third])
    stack.kill_gateway()
    typed_s += _press(page, keys[third : third + 10], saved=False)
    stack.start_gateway()
    typed_s += _press(page, keys[third + 10 : 2 * third])
    stack.restart_daemon()
    return typed_s + _press(page, keys[2 * third :])


def _press(page: Page, keys: str, *, saved: bool = True) -> float:
    began_s = time.monotonic()
    for key in keys:
        page.keyboard.press(key)
    took_s = time.monotonic() - began_s
    if saved:
        expect(page.locator("#saving")).to_have_text("All saved", timeout=60_000)
    return took_s


def _waiting(views: CatalogViews) -> list[ManifestRow]:
    """The pictures without a verdict."""
    states = views.verdicts("shop").standings()
    return [row for row in views.get("shop").rows if row.key and row.recipe_digest not in states]


def _published(store: ObjectStore) -> list[str]:
    return [found.key for found in store.list("published/shop/") if found.key.endswith(".webp")]


@contextmanager
def _browser() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()


def _visit(page: Page, url: str, catalog: str) -> None:
    page.goto(f"{url}/catalogs/{catalog}#token={_TOKEN}")
    page.wait_for_selector("html[data-ready]")

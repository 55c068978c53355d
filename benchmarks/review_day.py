"""A content lead's day with the running product: a spreadsheet of 200 products becomes approved, delivered pictures.

The table goes into the inbox; a person reviews by keys in a browser: 180 are approved, 20 rejected and made again, of
which 15 are approved then and 5 given up. Gateway and daemon are killed (`kill -9`) in between.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.serving_stack import ServingStack, wait_for
from benchmarks.soak import prepared_stack
from io_managers.image_set import ManifestRow
from ops.review.catalog_view import CatalogViews
from ops.review.verdicts import State
from resources.object_store import ObjectStore
from resources.open_store import open_store

PICTURES, EVERY, GIVEN_UP = 200, 10, 5
"""One in so many is rejected at first."""
LIMITS = {"verdicts lost": 0.0, "pictures not delivered": 0.0, "others delivered": 0.0, "s a verdict": 1.0}
_PATIENCE_S = 900.0
_TOKEN = "benchmark"
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


def run(pictures: int = PICTURES) -> dict[str, float]:
    """What was lost, and how long things took."""
    settings = {"IMAGEGENX_GATEWAY__PAGE_TOKEN": _TOKEN, "IMAGEGENX_CATALOG_SOURCE__INTERVAL_S": "2"}
    with prepared_stack(**settings) as (stack, _), _browser() as page:
        store = open_store(stack.settings.store)
        views, began_s = CatalogViews(store), time.monotonic()
        _drop(stack.home / "inbox", pictures)
        wait_for("the pictures", lambda: len(_waiting(views)) == pictures, _PATIENCE_S)
        made_s = time.monotonic()
        page.goto(f"{stack.url}/catalogs/shop#token={_TOKEN}")
        page.wait_for_selector("html[data-ready]")
        keys = "".join("r" if number % EVERY == 0 else "a" for number in range(pictures))
        typed_s = _review(page, keys, stack)
        reviewed = Counter(one.state for one in views.verdicts("shop").all())
        wait_for("the remade pictures", lambda: len(_waiting(views)) == keys.count("r"), _PATIENCE_S)
        again = "r" * GIVEN_UP + "a" * (keys.count("r") - GIVEN_UP)
        page.locator("#states .unreviewed").click()
        expect(page.locator(".cell")).to_have_count(len(again), timeout=60_000)
        _press(page, again)
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

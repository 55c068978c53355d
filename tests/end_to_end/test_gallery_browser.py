"""The gallery page in a real browser."""

import functools
import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from io_managers.image_set import ManifestRow, Status
from ops.gallery import GalleryPicture, write_gallery
from tests.support.gallery_pictures import changed
from tests.support.waiting import wait_until

COLOURS = {"red": (200, 40, 40), "teal": (20, 150, 150), "yellow": (240, 200, 60)}
UPSCALE = {"op": "upscale", "params": {"scale": 2}, "uses": ""}
LOGO = {"op": "watermark", "params": {"image_path": "shop.png", "position": "top-left"}, "uses": ""}
SIZES = ((256, 256), (256, 384), (384, 256))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for name, colour in COLOURS.items():
        for size in SIZES:
            Image.new("RGB", size, colour).save(tmp_path / "pictures" / f"{name}-{size[0]}x{size[1]}.webp")
    return tmp_path


def picture(number: int, folder: Path, **changes: object) -> GalleryPicture:
    colour, (width, height) = list(COLOURS)[number % 3], SIZES[number // 3 % 3]
    url = f"pictures/{colour}-{width}x{height}.webp"
    thumbnail = io.BytesIO()
    with Image.open(folder / url) as image:
        image.resize((width // 4, height // 4)).save(thumbnail, "WEBP")
    recipe = {
        **{"text": f"a {colour} mug {number}", "seed": number, "steps": 20, "width_px": width // 2},
        **{"height_px": height // 2, "post": [UPSCALE, LOGO]},
    }
    row = ManifestRow(
        row_id=f"mug-{number}",
        text=f"a {colour} mug {number}",
        model="tiny" if number % 2 else "sd1.5",
        width_px=width,
        height_px=height,
        format="webp",
        size_bytes=1_000 + number,
        status=Status.MADE,
        recipe=json.dumps(recipe),
    )
    return changed(GalleryPicture(row, thumbnail.getvalue(), url), **changes)


def shop(folder: Path) -> list[GalleryPicture]:
    """Nine mugs, a Chinese T-shirt and a row that failed."""
    mugs = [picture(number, folder) for number in range(9)]
    shirt = picture(0, folder, row_id="T恤-红", text="白色背景上的红色T恤", size_bytes=50_000, format="png")
    failed = changed(shirt, row_id="hat", text="a golden hat", status=Status.FAILED, error="out of gold", url="")
    return [*mugs, shirt, changed(failed, width_px=0, height_px=0, size_bytes=0, thumbnail=None, recipe="")]


def write(folder: Path, pictures: list[GalleryPicture], title: str = "Shop") -> Path:
    file = folder / "gallery.html"
    with file.open("w", encoding="utf-8") as target:
        write_gallery(target, title=title, pictures=pictures)
    return file


def open_gallery(page: Page, address: str) -> list[str]:
    """Open the page; the list fills with whatever the browser complains about."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return complaints


@pytest.fixture
def gallery(page: Page, folder: Path) -> Iterator[Page]:
    complaints = open_gallery(page, write(folder, shop(folder)).as_uri())
    yield page
    assert complaints == []


def titles(page: Page) -> list[str]:
    """The prompts of the cards in the order they stand on the page."""
    cards = page.locator(".card").evaluate_all(
        "cards => cards.map(card => [Number(card.dataset.index), card.querySelector('.words').textContent])"
    )
    return [text for _, text in sorted(cards)]


def test_every_picture_is_shown_with_its_counts(gallery: Page) -> None:
    expect(gallery.locator("h1")).to_have_text("Shop")
    expect(gallery.locator("#count")).to_have_text("10 pictures · 1 row failed")
    expect(gallery.locator(".card")).to_have_count(11)
    drawn = gallery.locator(".card img").evaluate_all(
        "images => Promise.all(images.map(i => i.decode().then(() => 1)))"
    )
    assert len(drawn) == 10


def test_search_and_filters_narrow_the_pictures_together(gallery: Page) -> None:
    gallery.locator("#search").fill("RED mug")
    assert titles(gallery) == ["a red mug 0", "a red mug 3", "a red mug 6"]
    expect(gallery.locator("#count")).to_have_text("3 of 10 pictures")
    gallery.locator("#model").select_option("sd1.5")
    assert titles(gallery) == ["a red mug 0", "a red mug 6"]
    gallery.locator("#size").select_option("384×256")
    assert titles(gallery) == ["a red mug 6"]
    gallery.locator("#search").fill("红色")
    expect(gallery.locator("#empty")).to_be_visible()
    gallery.locator("#clear").click()
    expect(gallery.locator(".card")).to_have_count(11)
    gallery.locator("#search").fill("红色")
    assert titles(gallery) == ["白色背景上的红色T恤"]


def test_pictures_are_sorted_and_the_failed_ones_found(gallery: Page) -> None:
    gallery.locator("#sort").select_option("bytes")
    assert titles(gallery)[:2] == ["白色背景上的红色T恤", "a yellow mug 8"]
    gallery.locator("#sort").select_option("text")
    assert titles(gallery)[0] == "a golden hat"
    gallery.locator("#sort").select_option("order")
    assert titles(gallery)[0] == "a red mug 0"
    gallery.locator("#status").select_option("failed")
    expect(gallery.locator(".card.failed .why")).to_have_text("out of gold")
    gallery.locator(".card").click()
    expect(gallery.locator("#why")).to_have_text("out of gold")
    expect(gallery.locator("#actions")).to_be_hidden()


def test_a_click_opens_the_full_picture_with_its_recipe(gallery: Page, folder: Path) -> None:
    gallery.locator(".card").nth(3).click()
    expect(gallery.locator("#prompt")).to_have_text("a red mug 3")
    expect(gallery.locator("#full")).to_have_js_property("naturalHeight", 384)
    names, values = (gallery.locator(f"#list {tag}").all_inner_texts() for tag in ("dt", "dd"))
    pairs = dict(zip(names, values, strict=True))
    assert pairs["Picture"] == "256×384 px"
    assert pairs["Generated at"] == "128×192"
    assert pairs["Seed"] == "3"
    assert pairs["Post-processing"] == "Upscaled 2×\nWatermark logo shop.png top-left"
    with gallery.expect_popup() as opened:
        gallery.get_by_role("link", name="Open file").click()
    assert opened.value.url == (folder / "pictures" / "red-256x384.webp").as_uri()


def test_the_recipe_is_copied_as_json(gallery: Page) -> None:
    gallery.locator(".card").nth(4).click()
    gallery.locator("#copy").click()
    expect(gallery.locator("#copy")).to_have_text("Copied")
    assert json.loads(gallery.evaluate("navigator.clipboard.readText()"))["seed"] == 4


def test_the_keyboard_is_enough(gallery: Page) -> None:
    focused = "document.activeElement.dataset.index"
    gallery.locator(".card").first.focus()
    gallery.keyboard.press("ArrowDown")
    assert int(gallery.evaluate(focused)) >= 4
    gallery.keyboard.press("ArrowUp")
    assert gallery.evaluate(focused) == "0"
    gallery.keyboard.press("ArrowRight")
    assert gallery.evaluate(focused) == "1"
    gallery.keyboard.press("Enter")
    expect(gallery.locator("#place")).to_have_text("2 of 11")
    gallery.keyboard.press("ArrowRight")
    gallery.keyboard.press("ArrowRight")
    expect(gallery.locator("#place")).to_have_text("4 of 11")
    gallery.keyboard.press("ArrowLeft")
    expect(gallery.locator("#prompt")).to_have_text("a yellow mug 2")
    gallery.keyboard.press("Escape")
    expect(gallery.locator("#viewer")).to_be_hidden()
    expect(gallery.locator('.card[data-index="2"]')).to_be_focused()


def test_an_address_with_a_row_id_opens_that_picture(page: Page, folder: Path) -> None:
    address = write(folder, shop(folder)).as_uri()
    assert open_gallery(page, f"{address}#T恤-红") == []
    expect(page.locator("#prompt")).to_have_text("白色背景上的红色T恤")
    expect(page.locator("#prompt")).to_have_attribute("lang", "zh-Hans")
    page.keyboard.press("Escape")
    page.wait_for_url(address)


def test_over_http_the_full_picture_is_downloaded(page: Page, folder: Path) -> None:
    write(folder, shop(folder))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert open_gallery(page, f"http://127.0.0.1:{server.server_port}/gallery.html") == []
        page.locator(".card").nth(1).click()
        expect(page.locator("#full")).to_have_attribute("src", re.compile("teal-256x256.webp$"))
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        server.shutdown()
    assert download.value.suggested_filename == "mug-1.webp"
    assert download.value.path().read_bytes() == (folder / "pictures" / "teal-256x256.webp").read_bytes()


def test_a_full_picture_that_is_gone_leaves_its_thumbnail_and_says_so(page: Page, folder: Path) -> None:
    open_gallery(page, write(folder, [picture(0, folder, url="pictures/gone.webp")]).as_uri())
    page.locator(".card").click()
    expect(page.locator("#note")).to_have_text("The full picture cannot be loaded; this is its thumbnail.")
    assert page.locator("#full").evaluate("image => image.naturalWidth") == 64


EVIL = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>alert(1)//",
    '"><svg onload=alert(1)>',
    "{{rows}} ${alert(1)} \u2028 \u202e \ud800",
)


def test_hostile_texts_run_nothing(page: Page, folder: Path) -> None:
    rows = [
        picture(n, folder, text=evil, row_id=evil, error=evil, recipe=json.dumps({"sampler": evil}), model=evil)
        for n, evil in enumerate(EVIL)
    ]
    rows += [changed(rows[0], status=Status.FAILED), changed(rows[1], url="javascript:alert(1)", recipe="not JSON")]
    complaints = open_gallery(page, write(folder, rows, title=EVIL[0]).as_uri())
    assert titles(page)[:3] == list(EVIL[:3])
    expect(page.locator("h1")).to_have_text(EVIL[0])
    for number in range(len(rows)):
        page.locator(".card").nth(number).click()
        expect(page.locator("#place")).to_have_text(f"{number + 1} of 6")
        page.keyboard.press("Escape")
    page.locator(".card").nth(5).click()
    expect(page.locator("#download")).to_be_hidden()
    assert page.locator("body > img, body svg[onload], main > img").count() == 0
    assert complaints == []


@pytest.mark.parametrize("width", [360, 768, 1440, 2560])
def test_it_fits_every_screen(browser: Browser, folder: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    open_gallery(page, write(folder, shop(folder)).as_uri())
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    boxes = page.locator(".card").evaluate_all("cards => cards.map(c => c.getBoundingClientRect().right)")
    assert max(boxes) <= width
    page.locator(".card").nth(3).click()
    expect(page.locator("#full")).to_have_js_property("naturalHeight", 384)
    shape = page.locator("#full").bounding_box()
    assert shape is not None
    assert shape["width"] / shape["height"] == pytest.approx(256 / 384, rel=0.02)
    assert shape["x"] >= 0
    assert shape["x"] + shape["width"] <= width
    expect(page.locator("#close")).to_be_in_viewport()
    expect(page.locator("#download")).to_be_in_viewport()
    context.close()


def test_the_theme_follows_the_system_and_can_be_switched(browser: Browser, folder: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    open_gallery(page, write(folder, shop(folder)).as_uri())
    colour = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(colour) == "rgb(19, 18, 16)"
    page.locator("#theme").click()
    assert page.evaluate(colour) == "rgb(247, 245, 241)"

    def opens_as_chosen():
        page.reload()
        return page.evaluate(colour) == "rgb(247, 245, 241)"

    wait_until(opens_as_chosen)  # the browser keeps the choice in its own time
    context.close()


def test_five_thousand_pictures_are_filtered_between_two_keystrokes(page: Page, folder: Path) -> None:
    patterns = [picture(number, folder) for number in range(18)]
    rows = [changed(patterns[n % 18], row_id=f"r{n}", text=f"{patterns[n % 18].row.text} of {n}") for n in range(5_000)]
    complaints = open_gallery(page, write(folder, rows).as_uri())
    expect(page.locator("#count")).to_have_text("5,000 pictures")
    slowest_ms = page.evaluate(
        """async () => {
            const search = document.getElementById("search"), frame = () => new Promise(requestAnimationFrame);
            let slowest = 0;
            for (const text of ["t", "te", "tea", "teal", "teal 4", "teal 49", "", "mug", "none"]) {
                const start = performance.now();
                search.value = text;
                search.dispatchEvent(new Event("input"));
                await frame();
                await frame();
                slowest = Math.max(slowest, performance.now() - start);
            }
            search.value = "";
            search.dispatchEvent(new Event("input"));
            return slowest;
        }"""
    )
    assert slowest_ms < 1_000, "an idle machine needs about 50 ms"
    assert page.locator(".card").count() < 100
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_selector('.card[data-index="4999"]')
    assert page.locator(".card").count() < 100
    page.locator('.card[data-index="4999"]').click()
    expect(page.locator("#place")).to_have_text("5,000 of 5,000")
    assert complaints == []

"""The page at `/` in a real browser."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from pydantic import SecretStr

from configs.settings import Settings
from gateway.main import open_service
from tests.support.painter import Painter, encoded
from tests.support.running_gateway import RunningGateway, running_gateway

PHONE, SMALL = {"width": 390, "height": 844}, {"width": 320, "height": 600}
TABLET, DESK = {"width": 768, "height": 1024}, {"width": 1440, "height": 900}
EVIL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


@pytest.fixture
def local(local: RunningGateway) -> Iterator[RunningGateway]:
    """The same, with somebody who paints."""
    with Painter(local.service.queue, local.service.store):
        yield local


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may not complain about anything."""
    context = browser.new_context(viewport=DESK, accept_downloads=True, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield page
    context.close()
    refusals = "Failed to load resource: the server responded with a status of 4"
    assert [complaint for complaint in complaints if not complaint.startswith(refusals)] == []


def visit(page: Page, gateway: RunningGateway) -> None:
    page.goto(f"{gateway.url}/#token=start-up-token")
    page.wait_for_selector("html[data-ready]")
    page.wait_for_url(f"{gateway.url}/")


def make(page: Page, text: str) -> None:
    page.locator("#text").fill(text)
    page.locator("#make").click()
    expect(page.locator(".card .words").first).to_have_text(text)


def facts(page: Page) -> dict[str, str]:
    names, values = (page.locator(f"#facts {tag}").all_inner_texts() for tag in ("dt", "dd"))
    return dict(zip(names, values, strict=True))


def test_a_person_makes_a_picture_and_sees_progress_and_recipe(page, local) -> None:
    visit(page, local)
    expect(page.locator("#empty")).to_be_visible()
    assert page.locator("#model option").all_inner_texts() == list(local.service.registry.names)
    expect(page.locator("#model")).to_have_value("tiny")
    page.locator("#more summary").click()
    page.locator("#size").select_option("128×128")
    page.locator("#steps").fill("12")
    seen = page.evaluate_handle(
        """() => {
            const seen = new Set();
            new MutationObserver(() => {
                const bar = document.querySelector(".card progress");
                if (bar) seen.add(bar.value);
            }).observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
            return seen;
        }"""
    )
    make(page, "a slow red mug")
    picture = page.locator(".card .open img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 128
    steps = seen.evaluate("seen => [...seen]")
    assert steps == sorted(steps)
    assert {35, 60, 85} & set(steps), "progress moves while the picture is painted"
    page.locator(".card .open").first.click()
    expect(page.locator("#about-text")).to_have_text("a slow red mug")
    expect(page.locator("#full")).to_have_js_property("naturalWidth", 128)
    shown = facts(page)
    assert (shown["Size"], shown["Model"], shown["Steps"], shown["Sampler"]) == ("128×128 px", "tiny", "12", "DDIM")
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert str(json.loads(page.evaluate("navigator.clipboard.readText()"))["seed"]) == shown["Seed"]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert re.fullmatch(r"img_.+\.webp", download.value.suggested_filename)
    assert download.value.path().read_bytes()[8:12] == b"WEBP"


def test_previews_are_seen_while_pictures_are_painted(page, local) -> None:
    visit(page, local)
    page.locator("#count").fill("2")
    make(page, "a held mug")
    preview = page.locator(".card .previews img").first
    expect(preview).to_have_js_property("naturalWidth", 32)
    expect(page.locator(".card progress")).to_be_visible()
    page.locator(".card").get_by_role("button", name="Cancel").click()
    expect(page.locator(".card .why, .card .state").first).to_have_text("Cancelled")
    expect(page.locator(".previews")).to_have_count(0)


def test_catalogs_are_one_click_away_and_back(page, local) -> None:
    visit(page, local)
    page.get_by_role("link", name="Catalogs").click()
    expect(page.get_by_role("heading", name="Catalogs", exact=True)).to_be_visible()
    page.get_by_role("link", name="ImageGenX").click()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#empty")).to_be_visible()


def test_earlier_pictures_are_there_after_a_reload_and_can_be_used_again(page, local) -> None:
    visit(page, local)
    make(page, "a teal lamp")
    expect(page.locator(".card .open img")).to_have_count(1)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.locator(".card .open").first.click()
    seed = facts(page)["Seed"]
    page.locator("#again").click()
    expect(page.locator("#text")).to_have_value("a teal lamp")
    expect(page.locator("#seed")).to_have_value(seed)
    page.locator("#make").click()
    expect(page.locator(".card .open img")).to_have_count(2)


def test_what_an_earlier_picture_had_is_used_again_and_can_be_left_out(page, local) -> None:
    key = local.service.accounts.create("local")
    mark = {"enable": True, "text": "Made by us", "position": "top-left"}
    params = {"num_images": 2, "seed": 40, "strength": 0.4, "steps": 3, "post_process": {"watermark": mark}}
    picture = encoded(Image.new("RGB", (64, 64), "teal"), "png")
    request = {
        "text": "a teal lamp",
        "params": params,
        "image_url": f"data:image/png;base64,{b64encode(picture).decode()}",
    }
    sent = httpx.post(f"{local.url}/api/v1/image/generate", json=request, headers={"X-API-Key": key})
    first = sent.json()["data"]["task_id"]
    visit(page, local)
    page.locator(".card .open").first.click(timeout=60_000)
    page.get_by_role("button", name="Next picture").click()
    expect(page.locator("#place")).to_have_text("2 / 2")
    expect(page.get_by_role("button", name="Next picture")).to_be_disabled()
    page.locator("#again").click()
    expect(page.locator("#seed")).to_have_value("41")
    expect(page.locator("#carried button")).to_have_text(["Watermark Made by us ✕"])
    expect(page.locator("#added-note")).to_have_text("The input picture of an earlier request")
    expect(page.locator("#strength")).to_have_value("0.4")
    page.locator("#make").click()
    expect(page.locator(".card .open img")).to_have_count(3)
    again, before = (local.service.queue.owned("local")[n].request for n in (0, 1))
    assert again["image_url"] == before["image_url"] == local.service.queue.task(first).request["image_url"]
    kept = ("strength", "steps", "post_process", "resolution", "sampler", "cfg_scale")
    assert [again["params"][name] for name in kept] == [before["params"][name] for name in kept]
    page.get_by_role("button", name="Take away").click()
    page.get_by_role("button", name="Without Watermark Made by us").click()
    page.locator("#make").click()
    expect(page.locator(".card .open img")).to_have_count(4)
    assert local.service.queue.owned("local")[0].request["image_url"] is None


def test_a_finger_turns_to_the_next_picture(browser, local) -> None:
    key = local.service.accounts.create("local")
    body = {"text": "two mugs", "params": {"num_images": 2, "steps": 3}}
    httpx.post(f"{local.url}/api/v1/image/generate", json=body, headers={"X-API-Key": key})
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    visit(page, local)
    page.locator(".card .open").first.tap(timeout=60_000)
    swipe = """async (show) => {
      const touch = (x) => new Touch({identifier: 1, target: show, clientX: x, clientY: 200});
      const send = (kind, x, touches) =>
        show.dispatchEvent(new TouchEvent(kind, {touches, changedTouches: [touch(x)]}));
      send("touchstart", 300, [touch(300)]); send("touchend", 120, []);
    }"""
    page.locator("#show").evaluate(swipe)
    expect(page.locator("#place")).to_have_text("2 / 2")
    page.get_by_role("button", name="Previous picture").tap()
    expect(page.locator("#place")).to_have_text("1 / 2")
    context.close()


def test_a_task_that_was_going_on_is_followed_after_a_reload(page, local) -> None:
    visit(page, local)
    make(page, "a slow blue chair")
    page.reload()
    expect(page.locator(".card .open img")).to_have_count(1)


def test_failures_and_refusals_are_told_in_words(page, local) -> None:
    visit(page, local)
    make(page, "fail this")
    expect(page.locator(".card .why")).to_have_text("The input picture could not be fetched.")
    page.locator("#text").fill("   ")
    page.locator("#make").click()
    expect(page.locator("#wrong")).to_have_text("blank, but must say something")
    expect(page.locator("#text")).to_have_attribute("aria-invalid", "true")
    page.locator("#text").fill("better")
    expect(page.locator("#wrong")).to_be_hidden()


def test_who_asks_for_what_the_model_cannot_paint_is_told_beside_the_picture(page, local) -> None:
    visit(page, local)
    make(page, "a cat")

    expect(page.locator(".card .hint")).to_contain_text("Model 'tiny' paints nothing but: t-shirt, dress,")
    expect(page.locator(".card .open img")).to_be_visible()


def test_a_picture_can_be_cancelled(page, service, gateway, key) -> None:
    page.add_init_script(f"localStorage.setItem('imagegenx-key', '{key}')")
    visit(page, gateway)
    make(page, "a mug nobody paints")
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".card .state")).to_have_text("Cancelled")
    assert page.evaluate("document.activeElement.dataset.task")
    expect(page.get_by_role("status")).to_contain_text("Cancelled: a mug nobody paints")


def test_a_person_with_a_key_enters_it_once(page, settings: Settings, tmp_path) -> None:
    own = settings.gateway.model_copy(update={"page_token": SecretStr("")})
    service = open_service(settings.model_copy(update={"gateway": own, "home": tmp_path}))
    with running_gateway(service) as gateway:
        visit(page, gateway)
        expect(page.locator("#key-dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#locked")).to_contain_text("An API key is needed to make pictures here.")
        expect(page.locator("#model")).to_be_hidden()
        expect(page.locator("#add")).to_be_disabled()
        expect(page.locator("#model")).to_be_disabled()
        page.locator("#text").fill("a mug")
        page.locator("#make").click()
        expect(page.locator("#key-dialog")).to_be_visible()
        expect(page.locator("#wrong")).to_be_hidden()
        page.locator("#key").fill("igx_wrong")
        page.locator("#key-save").click()
        expect(page.locator("#key-wrong")).to_contain_text("unknown or was revoked")
        page.locator("#key").fill(service.accounts.create("grace"))
        page.locator("#key-save").click()
        expect(page.locator("#key-dialog")).to_be_hidden()
        expect(page.locator("#locked")).to_be_hidden()
        expect(page.locator("#model")).to_be_visible()
        expect(page.locator("#ratios")).to_be_visible()
        expect(page.locator("#model")).to_have_value("tiny")
        visit(page, gateway)
        expect(page.locator("#key-dialog")).to_be_hidden()
        expect(page.locator("#model")).to_have_value("tiny")
        page.locator("#key-button").click()
        page.locator("#key-forget").click()
        expect(page.locator("#key-dialog")).to_be_visible()
        assert page.evaluate("localStorage.length") == 0
    service.queue.close()


def test_no_text_becomes_markup(page, local) -> None:
    visit(page, local)
    make(page, EVIL)
    expect(page.locator(".card .open img")).to_have_count(1)
    page.locator(".card .open").first.click()
    expect(page.locator("#about-text")).to_have_text(EVIL)
    assert page.locator("img[src='x']").count() == 0


def test_it_speaks_chinese_when_asked(page, local) -> None:
    visit(page, local)
    page.locator("#language").click()
    expect(page.locator("#make")).to_have_text("生成图片")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    expect(page.locator("#make")).to_have_text("生成图片")
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    keys = page.evaluate("[Object.keys(WORDS.en).sort(), Object.keys(WORDS.zh).sort()]")
    assert keys[0] == keys[1]


@pytest.mark.parametrize(("screen", "scheme"), [(PHONE, "dark"), (SMALL, "light"), (TABLET, "dark"), (DESK, "light")])
def test_it_fits_every_screen_in_light_and_dark(
    browser: Browser, gateway, service, key, painter, screen, scheme
) -> None:
    context = browser.new_context(viewport=screen, color_scheme=scheme, has_touch=screen is PHONE)
    page = context.new_page()
    page.add_init_script(f"localStorage.setItem('imagegenx-key', '{key}')")
    visit(page, gateway)
    make(page, "a yellow backpack beside a window")
    expect(page.locator(".card .open img")).to_have_count(1)
    page.locator("#more summary").click()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    paper = {"light": "rgb(247, 245, 241)", "dark": "rgb(19, 18, 16)"}
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper[scheme]
    page.locator("#theme").click()
    other = paper["dark" if scheme == "light" else "light"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == other
    page.locator(".card .open").first.click()
    expect(page.locator("#full")).to_have_js_property("naturalWidth", 128)
    for name in ("#close", "#download", "#again", "#copy", "#full"):
        expect(page.locator(name)).to_be_in_viewport(ratio=0.99)
    page.locator("#close").click()
    page.goto(f"{gateway.url}/docs")
    page.wait_for_selector("html[data-ready]")
    calls = page.locator("details.call")
    assert calls.evaluate_all("calls => calls.map(call => call.open = true).length") > 20
    assert page.evaluate(overflow) == 0
    context.close()

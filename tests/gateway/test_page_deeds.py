"""What a person does with examples, input pictures and finished ones on the page, in a real browser."""

from collections.abc import Iterator
from io import BytesIO
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from models.request import STORED
from resources.object_store import ObjectNotFoundError
from tests.support.painter import Painter, encoded
from tests.support.running_gateway import RunningGateway

DESK, PHONE, ZOOMED = {"width": 1280, "height": 900}, {"width": 390, "height": 844}, {"width": 320, "height": 256}
TEAL = {"name": "p.png", "mimeType": "image/png", "buffer": encoded(Image.new("RGB", (160, 120), "teal"), "png")}


@pytest.fixture
def painter(local) -> Iterator[None]:
    with Painter(local.service.queue, local.service.store):
        yield


@pytest.fixture
def page(browser: Browser, local) -> Iterator[Page]:
    """The page, which may not complain about anything."""
    context = browser.new_context(viewport=DESK, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page, local)
    yield page
    context.close()
    assert errors == []


def visit(page: Page, gateway: RunningGateway) -> None:
    page.goto(f"{gateway.url}/#token=start-up-token")
    page.wait_for_selector("html[data-ready]")


def make(page: Page, text: str, pictures: int = 1) -> None:
    page.locator("#text").fill(text)
    page.locator("#count").fill(str(pictures))
    page.locator("#make").click()
    expect(page.locator(".card .words").first).to_have_text(text)


def asked(local: RunningGateway, place: int = 0):
    return local.service.queue.owned("local")[place].request


def wait_for_pictures(page: Page, count: int) -> None:
    expect(page.locator(".card .open img")).to_have_count(count)


def test_a_first_visit_says_what_the_model_paints_and_six_examples_lead_to_a_picture(page, local, painter) -> None:
    expect(page.locator("#about-model")).to_contain_text("one product on a plain background")
    expect(page.locator("#examples button")).to_have_count(6)
    page.locator("#examples button").first.click()
    expect(page.locator("#make")).to_be_focused()
    page.keyboard.press("Enter")
    wait_for_pictures(page, 1)
    page.locator("#language").click()
    expect(page.locator("#about-model")).to_contain_text("纯色背景")
    expect(page.locator("#examples button").first).to_have_text("红色马克杯，白色背景")
    assert page.evaluate("[...document.fonts].filter((font) => font.status === 'loaded').length") == 2


def test_shape_and_count_are_asked_for(page, local, painter) -> None:
    page.get_by_role("radio", name="3:2").check()
    make(page, "five mugs", 5)
    wait_for_pictures(page, 4)
    expect(page.locator(".further")).to_have_text("+1")
    params = asked(local)["params"]
    width, height = map(int, params["resolution"].split("×"))
    assert (width / height, params["num_images"]) == (pytest.approx(1.5, abs=0.1), 5)
    page.locator(".card .open").nth(3).click()
    expect(page.locator("#place")).to_have_text("4 / 5")


def test_a_lora_is_chosen_with_its_weight(page, local, painter) -> None:
    expect(page.locator("#lora-weight-choice")).to_be_hidden()
    page.locator("#lora").select_option("pastel")
    page.locator("#lora-weight").fill("0.6")
    make(page, "a mug")
    wait_for_pictures(page, 1)
    assert [asked(local)["params"][name] for name in ("lora_name", "lora_weight")] == ["pastel", 0.6]


def test_a_part_of_an_added_picture_is_repainted(page, local, painter) -> None:
    page.set_input_files("#add-file", TEAL)
    page.get_by_role("radio", name="Repaint a part").check()
    page.locator("#text").fill("a red mug")
    page.locator("#make").click()
    expect(page.locator("#wrong")).to_have_text("Mark what to repaint first.")
    page.locator("#mask").click()
    box = page.locator("#mask-canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    page.mouse.up()
    page.locator("#mask-done").click()
    make(page, "a red mug")
    wait_for_pictures(page, 1)
    request = asked(local)
    image, mask = (stored(local, request[field]) for field in ("image_url", "mask_url"))
    assert (image.size, mask.size) == ((160, 120), (160, 120))
    grey = mask.convert("L")
    assert (grey.getpixel((45, 60)), grey.getpixel((120, 60))) == (255, 0)


def stored(local: RunningGateway, reference: str) -> Image.Image:
    return Image.open(BytesIO(local.service.store.get(reference.removeprefix(STORED))))


def test_lines_of_an_added_picture_are_followed_and_it_can_be_taken_away(page, local, painter) -> None:
    page.set_input_files("#add-file", TEAL)
    page.get_by_role("radio", name="Follow its lines").check()
    make(page, "a lamp")
    wait_for_pictures(page, 1)
    assert asked(local)["control_image_url"].startswith(STORED)
    assert asked(local)["image_url"] is None
    page.get_by_role("button", name="Take away").click()
    make(page, "a hat")
    wait_for_pictures(page, 2)
    assert asked(local)["control_image_url"] is None


def test_a_file_that_is_no_picture_is_said_to_be_none(page) -> None:
    page.set_input_files("#add-file", {"name": "a.png", "mimeType": "image/png", "buffer": b"<html>"})
    expect(page.locator("#wrong")).to_have_text("This file is no picture that a browser can show.")
    expect(page.locator("#added")).to_be_hidden()


def test_of_two_files_the_one_that_was_chosen_last_is_added(page) -> None:
    page.evaluate("""() => {
        const decode = Image.prototype.decode;
        let first = new Promise((resolve) => { window.go = resolve; });
        Image.prototype.decode = function () {
            const ready = first;
            first = null;
            return Promise.resolve(ready).then(() => decode.call(this));
        };
    }""")
    page.set_input_files("#add-file", TEAL | {"buffer": encoded(Image.new("RGB", (64, 64)), "png")})
    page.set_input_files("#add-file", TEAL)
    expect(page.locator("#added-picture")).to_have_js_property("naturalWidth", 160)
    page.evaluate("go()")
    page.wait_for_timeout(300)
    expect(page.locator("#added-picture")).to_have_js_property("naturalWidth", 160)
    expect(page.locator("#wrong")).to_be_hidden()


def held_answer(page: Page) -> list[Route]:
    """Keeps the next answer about a task that waits; it is let go by `let_go`."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        answer = route.fetch()
        held.append(route)
        page.let_go = lambda: route.fulfill(response=answer)

    page.route(
        "**/api/v1/image/task/*",
        lambda route: route.fallback() if held or route.request.method != "GET" else hold(route),
    )
    return held


def test_an_answer_that_comes_late_undoes_nothing(page, local) -> None:
    held = held_answer(page)
    make(page, "a mug")
    while not held:
        page.wait_for_timeout(100)
    with Painter(local.service.queue, local.service.store):
        wait_for_pictures(page, 1)
    page.let_go()
    page.wait_for_timeout(500)
    assert page.locator(".card").get_attribute("data-status") == "success"


def test_an_answer_that_comes_late_brings_no_removed_card_back(page, local) -> None:
    held = held_answer(page)
    make(page, "a mug")
    while not held:
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".card")).to_have_count(0)
    page.let_go()
    page.wait_for_timeout(500)
    expect(page.locator(".card")).to_have_count(0)


def test_what_was_deleted_elsewhere_goes_from_the_page_and_the_next_is_followed(page, local) -> None:
    page.route("**/events?*", lambda route: route.abort())
    for number in range(4):
        make(page, f"mug {number}")
    with httpx.Client(base_url=local.url, headers={"X-API-Key": page.evaluate("service.key")}) as elsewhere:
        for kind in ("task", "picture"):
            elsewhere.delete(f"/api/v1/image/{kind}/{local.service.queue.owned('local')[3].id}").raise_for_status()
    page.unroute("**/events?*")
    expect(page.locator(".card")).to_have_count(3, timeout=30_000)
    expect(page.get_by_text("mug 0")).to_have_count(0)
    with Painter(local.service.queue, local.service.store):
        wait_for_pictures(page, 3)


def use_key(page: Page, key: str) -> None:
    page.locator("#key-button").click()
    page.locator("#key").fill(key)
    page.locator("#key-save").click()
    expect(page.locator("#key-dialog")).to_be_hidden()


def test_what_another_key_does_not_know_is_there_again_with_its_own(page, local) -> None:
    page.route("**/events?*", lambda route: route.abort())
    make(page, "a mug")
    own, other = page.evaluate("service.key"), local.service.accounts.create("other", qps=100)
    use_key(page, other)
    expect(page.locator(".card")).to_have_count(0)
    with page.expect_response(lambda response: "/events?" in response.url and response.status == 404, timeout=30_000):
        page.unroute("**/events?*")
    use_key(page, own)
    expect(page.locator(".card")).to_have_count(1)


def test_what_failed_is_tried_again_or_dismissed(page, local, painter) -> None:
    make(page, "fail this")
    page.get_by_role("button", name="Try again").click(timeout=60_000)
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Dismiss").click(timeout=60_000)
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()
    assert local.service.queue.owned("local") == []


def test_a_finished_picture_leads_to_variations_a_larger_one_and_an_input(page, local, painter) -> None:
    make(page, "a blue chair")
    wait_for_pictures(page, 1)
    first = local.service.queue.owned("local")[0]
    page.locator(".card .open").click()
    page.get_by_role("button", name="Four variations").click()
    wait_for_pictures(page, 5)
    assert asked(local)["params"]["num_images"] == 4
    assert asked(local)["params"]["seed"] != first.request["params"]["seed"]
    page.locator(".card .open").last.click()
    page.get_by_role("button", name="Enlarge 2×").click()
    wait_for_pictures(page, 6)
    params = asked(local)["params"]
    assert (params["seed"], params["post_process"]["super_resolution"]) == (first.request["params"]["seed"], "2x")
    page.locator(".card .open").last.click()
    page.get_by_role("button", name="Use as input").click()
    make(page, "the same in red")
    wait_for_pictures(page, 7)
    assert asked(local)["image_url"] == f"{STORED}{first.result.pictures[0].original_key}"


def test_a_picture_is_shared_by_a_link_and_deleted_for_good(page, local, painter) -> None:
    make(page, "a grey hat")
    wait_for_pictures(page, 1)
    picture = local.service.queue.owned("local")[0].result.pictures[0]
    page.locator(".card .open").click()
    page.get_by_role("button", name="Copy link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert httpx.get(link).headers["content-type"] == "image/webp"
    page.locator("#delete").click()
    expect(page.locator("#delete")).to_have_text("Delete for good?")
    page.locator("#delete").click()
    expect(page.locator(".card")).to_have_count(0)
    assert httpx.get(link).status_code == 404
    with pytest.raises(ObjectNotFoundError):
        local.service.store.get(picture.original_key)


def test_pictures_are_found_by_words_and_tags(page, local, painter) -> None:
    for text in ("a red mug", "a blue hat", "a green mug"):
        make(page, text)
    wait_for_pictures(page, 3)
    page.locator("#search").fill("mug")
    expect(page.locator(".card:visible")).to_have_count(2)
    page.locator(".card:visible .open").first.click()
    page.locator("#own-tags").fill("autumn, shop")
    page.locator("#close").click()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.get_by_role("button", name="autumn 1").click()
    expect(page.locator(".card:visible .words")).to_have_text(["a green mug"])
    page.locator("#search").fill("nothing of this")
    expect(page.locator("#none-found")).to_be_visible()


def test_a_viewer_goes_through_all_pictures_by_keys(page, local, painter) -> None:
    make(page, "two mugs", 2)
    make(page, "a hat")
    wait_for_pictures(page, 3)
    page.locator(".card .open").first.click()
    for text in ("two mugs", "two mugs"):
        page.keyboard.press("ArrowRight")
        expect(page.locator("#about-text")).to_have_text(text)
    expect(page.locator("#place")).to_have_text("2 / 2")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()


def test_who_waits_with_nobody_to_paint_is_told_that_the_model_starts(page, local) -> None:
    make(page, "a mug")
    expect(page.locator(".card .state")).to_have_text("Starting the model …")


@pytest.mark.parametrize("screen", [DESK, PHONE, ZOOMED])
def test_nothing_is_out_of_reach_for_who_cannot_see_or_enlarges(browser, local, painter, screen) -> None:
    context = browser.new_context(viewport=screen, locale="en-GB", reduced_motion="reduce")
    page = context.new_page()
    visit(page, local)
    make(page, "a mug")
    make(page, "fail this")
    expect(page.get_by_role("button", name="Dismiss")).to_be_visible()
    page.set_input_files("#add-file", TEAL)
    page.locator("#more summary").click()
    seen = [Axe().run(page)]
    page.locator(".card .open").first.click()
    assert page.evaluate("document.getElementById('scroll').clientHeight") > 100, "room for what is said of the picture"
    seen.append(Axe().run(page))
    grave = [
        rule for found in seen for rule in found.response["violations"] if rule["impact"] in ("serious", "critical")
    ]
    assert [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in grave] == []
    page.locator("#close").click()
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert urlsplit(page.url).path == "/"
    context.close()

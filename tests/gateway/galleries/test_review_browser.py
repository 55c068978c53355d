"""Reviewing a catalog in a real browser, by keys, clicks and fingers."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from io_managers.image_set import encode_manifest, manifest_key
from io_managers.live_progress import publish_progress
from ops.catalog.rows import ReviewPolicy
from ops.editions import RowChange, begin_edition, finish_edition, request_edition
from ops.review.asked import asked_changes
from ops.review.verdicts import CatalogVerdicts, State, new_verdict
from resources.dagster_names import THUMBNAILS, WATERMARKED_IMAGES
from tests.support.reviewed_catalog import store_reviewed, store_rows
from tests.support.waiting import wait_until

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
MAX_CELLS_A_KEY = 4
"""Cells that one key may draw anew, however many pictures there are."""


@pytest.fixture(params=[{}])
def page(browser: Browser, request) -> Iterator[Page]:
    """A page that may not complain about anything but refused and broken calls."""
    context = browser.new_context(**({"viewport": DESK, "locale": "en-GB"} | request.param))
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [one for one in complaints if not one.startswith("Failed to load resource")] == []


def visit(page, gateway, path="/catalogs/mugs"):
    page.goto(f"{gateway.url}{path}#token=start-up-token")
    page.wait_for_selector("html[data-ready]")


def said(gateway, catalog="mugs"):
    """What the store holds, by row: the first letter of the state, with a star."""
    known = CatalogVerdicts(gateway.service.store, catalog)
    rows = {one.recipe: one.row for one in known.all()}
    return {
        rows[recipe]: one.state.value[0] + ("*" if one.star else "") + one.reason
        for recipe, one in known.standings().items()
    }


def saved(page):
    expect(page.locator("#saving")).to_have_text("All saved")


def keys(page, pressed):
    for key in pressed.split():
        page.keyboard.press(key)


def test_a_person_reviews_by_keys_and_takes_things_back(page, reviewing) -> None:
    store_reviewed(reviewing.service.store, "mugs", 20)
    visit(page, reviewing)
    expect(page.locator(".cell")).to_have_count(20)
    keys(page, "a a r 2 s ArrowRight a u")
    saved(page)
    expected = {"mug-0": "a", "mug-1": "a", "mug-2": "rCut off", "mug-3": "u*", "mug-4": "u"}
    wait_until(lambda: said(reviewing) == expected)
    expect(page.locator("#states .approved b")).to_have_text("2")
    expect(page.locator("#cell-2 p")).to_have_text("Cut off")
    keys(page, "Home r e")
    page.locator("#other-reason").fill("模糊 <b>")
    keys(page, "Enter ArrowRight Shift+ArrowRight Shift+ArrowRight a")
    saved(page)
    expected |= {"mug-0": "r模糊 <b>", "mug-2": "a", "mug-3": "a*", "mug-4": "a"}
    wait_until(lambda: said(reviewing) == expected)
    keys(page, "Control+z")
    saved(page)
    wait_until(lambda: said(reviewing) == expected | {"mug-2": "rCut off", "mug-3": "u*", "mug-4": "u"})


def test_filters_sort_and_place_are_in_the_address_that_others_may_open(page, reviewing) -> None:
    rows = store_reviewed(reviewing.service.store, "mugs", 20)
    CatalogVerdicts(reviewing.service.store, "mugs").record(
        [new_verdict(row.recipe_digest, row.row_id, "bob", state=State.APPROVED) for row in rows[:9]]
    )
    visit(page, reviewing)
    page.locator("#states .unreviewed").click()
    page.get_by_label("Kind").select_option("jug")
    page.wait_for_url(re.compile(r"\?state=unreviewed&c\.Kind=jug"))
    page.get_by_label("Sort").select_option("id")
    expect(page.locator(".cell strong")).to_have_text(["mug-10", "mug-13", "mug-16"])
    keys(page, "ArrowRight Enter")
    expect(page.locator("#v-id")).to_have_text("mug-13")
    page.wait_for_url(re.compile(r"state=unreviewed&sort=id&c\.Kind=jug&at=mug-13&open=1"))
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#v-id")).to_have_text("mug-13")
    expect(page.locator(".cell")).to_have_count(3)
    keys(page, "Escape /")
    page.keyboard.type("number 16")
    expect(page.locator(".cell strong")).to_have_text(["mug-16"])
    page.keyboard.type(" nothing like it")
    expect(page.locator("#no-match")).to_be_visible()
    expect(page.locator("#deck")).to_be_hidden()
    page.locator("#show-all").click()
    expect(page.locator(".cell")).to_have_count(20)
    expect(page.locator(".cell.failed p")).to_have_text("the mask is empty")


def test_what_one_person_says_another_sees_and_a_run_shows_how_far_it_is(page, reviewing) -> None:
    store = reviewing.service.store
    rows = store_reviewed(store, "mugs", 6, review=ReviewPolicy(required=True, owner="ann"))
    visit(page, reviewing)
    expect(page.locator("#summary")).to_contain_text("Only approved pictures are published · Asked: ann")
    CatalogVerdicts(store, "mugs").record([new_verdict(rows[0].recipe_digest, "mug-0", "bob", state=State.REJECTED)])
    publish_progress(store, "mugs", "generated_images", {"made": 2, "failed": 1, "total": 6})
    expect(page.locator("#cell-0")).to_have_class(re.compile("rejected"))
    expect(page.locator("#live")).to_have_text("Making 2 of 6 · 1 failed")
    publish_progress(store, "mugs", "generated_images", None)
    store_reviewed(store, "mugs", 8, failed=0, edition=1)
    expect(page.locator(".cell")).to_have_count(8)
    keys(page, "Enter")
    expect(page.locator("#v-history")).to_have_text("Nobody has said anything yet.")


def remade(store, rows, row_id):
    """One row's picture is another now."""
    ids = [row.row_id for row in rows]
    store_rows(store, "mugs", ids, edition=1, only={row_id}, before=rows)


def test_keys_fall_on_what_is_seen_while_the_catalog_is_read_again(page, reviewing) -> None:
    rows = store_reviewed(reviewing.service.store, "mugs", 12, failed=0)
    visit(page, reviewing)
    polls, held = [], []

    def poll(route):
        polls.append(route)
        if len(polls) == 2:  # what the catalog is now is here, what is said of it is on its way
            held.append(route)
        else:
            route.continue_()

    page.route("**/state?*", poll)
    remade(reviewing.service.store, rows, "mug-11")
    while not held:
        page.wait_for_timeout(50)
    keys(page, "a a r")
    held[0].continue_()
    expect(page.locator("#cell-11 img")).to_have_attribute("src", re.compile("0000000100"))
    expect(page.locator("#chosen")).to_have_text("4 of 12")
    keys(page, "a r")
    saved(page)
    assert said(reviewing) == {"mug-0": "a", "mug-1": "a", "mug-2": "r", "mug-3": "a", "mug-4": "r"}


def test_reading_a_catalog_again_keeps_what_is_chosen_and_shows_the_new_picture(page, reviewing) -> None:
    rows = store_reviewed(reviewing.service.store, "mugs", 12, failed=0)
    visit(page, reviewing)
    keys(page, "x ArrowRight ArrowRight x")
    remade(reviewing.service.store, rows, "mug-2")
    expect(page.locator("#cell-2 img")).to_have_attribute("src", re.compile("0000000100"))
    expect(page.locator("#chosen")).to_have_text("2 selected")
    keys(page, "Escape Enter")
    seen = page.locator("#full")
    expect(seen).to_have_attribute("src", re.compile("0000000100"))
    store_reviewed(reviewing.service.store, "mugs", 12, failed=0, edition=2)
    expect(seen).to_have_attribute("src", re.compile("0000000200"))
    keys(page, "a")
    saved(page)
    latest = CatalogVerdicts(reviewing.service.store, "mugs").all()[-1]
    assert (latest.row, latest.recipe[:8]) == ("mug-2", "00000002")


def test_each_key_draws_a_few_cells_however_many_pictures_there_are(page, reviewing) -> None:
    store_reviewed(reviewing.service.store, "mugs", 600)
    visit(page, reviewing)
    shown = page.locator(".cell").count()
    assert 20 < shown < 150
    for key in ("a", "r", "s", "ArrowRight", "u"):
        before = page.evaluate("gallery.drawn")
        page.keyboard.press(key)
        assert page.evaluate("gallery.drawn") - before <= MAX_CELLS_A_KEY, key
    before = page.evaluate("gallery.drawn")
    page.keyboard.press("End")
    expect(page.locator("#cell-599")).to_be_in_viewport()
    assert page.evaluate("gallery.drawn") - before <= 2 * shown
    assert page.locator(".cell").count() < 150
    saved(page)


def test_no_verdict_is_lost_while_the_gateway_is_away(page, settings, reviewing, tmp_path) -> None:
    store_reviewed(reviewing.service.store, "mugs", 12, failed=0)
    visit(page, reviewing)
    reached = threading.Event()

    def away(route):
        reached.set()
        route.abort()

    page.route("**/verdicts", away)
    keys(page, "a a r")
    expect(page.locator("#saving")).to_contain_text("3 not saved yet")
    assert reached.is_set()
    keys(page, "a")
    page.unroute("**/verdicts")
    expect(page.locator("#saving")).to_have_text("All saved")
    assert said(reviewing) == {"mug-0": "a", "mug-1": "a", "mug-2": "r", "mug-3": "a"}


@pytest.mark.parametrize(
    "page", [{"viewport": PHONE, "has_touch": True, "is_mobile": True}], indirect=True, ids=["phone"]
)
def test_a_finger_does_the_same_on_a_phone(page, reviewing) -> None:
    store_reviewed(reviewing.service.store, "mugs", 20)
    visit(page, reviewing)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("#cell-1").tap()
    expect(page.locator("#v-id")).to_have_text("mug-1")
    page.locator("#do-approve").tap()
    expect(page.locator("#v-id")).to_have_text("mug-2")
    page.locator("#do-reject").tap()
    page.get_by_role("button", name="Blurred").tap()
    page.locator("#shut").tap()
    for button in page.locator("#deck > button:visible, #head .action:visible").all():
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    page.locator("#selecting").tap()
    page.locator("#cell-4").tap()
    page.locator("#cell-6").tap()
    expect(page.locator("#chosen")).to_have_text("2 selected")
    page.locator("#do-star").tap()
    saved(page)
    wait_until(lambda: said(reviewing) == {"mug-1": "a", "mug-2": "rBlurred", "mug-4": "u*", "mug-6": "u*"})


def test_the_index_leads_to_galleries_and_empty_states_are_said(page, reviewing) -> None:
    page.goto(f"{reviewing.url}/catalogs#token=start-up-token")
    expect(page.locator("#none")).to_contain_text("imagegenx catalog add FILE")
    store_reviewed(reviewing.service.store, "mugs", 6)
    store_reviewed(reviewing.service.store, "unmade", 0, failed=0)
    reviewing.service.store.delete("manifests/watermarked_images/unmade.parquet")
    page.reload()
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".card").first).to_contain_text("5 to review · 1 failed")
    page.locator(".card").last.click()
    expect(page.locator("#unmade")).to_contain_text("imagegenx demo --catalog unmade")
    page.locator(".back").click()
    page.locator(".card").first.click()
    expect(page.locator(".cell")).to_have_count(6)
    page.goto(f"{reviewing.url}/catalogs/nobody")
    expect(page.locator("#notice")).to_contain_text("There is no catalog 'nobody'")


def test_an_index_that_follows_a_run_keeps_its_pages_and_the_keyboards_place(page, reviewing) -> None:
    store = reviewing.service.store
    for number in range(62):
        store_reviewed(store, f"mugs-{number:02}", 0, failed=0)
    publish_progress(store, "mugs-01", "generated_images", {"made": 2, "total": 6})
    visit(page, reviewing, "/catalogs")
    page.locator("#more").click()
    expect(page.locator(".card")).to_have_count(62)
    page.locator(".card").nth(1).focus()
    publish_progress(store, "mugs-01", "generated_images", {"made": 5, "total": 6})
    expect(page.locator(".card:focus .live")).to_have_text("Making 5 of 6")
    expect(page.locator(".card")).to_have_count(62)
    expect(page.locator("#more")).to_be_hidden()
    page.locator("#search").fill("mugs-6")
    expect(page.locator(".card h2")).to_have_text(["mugs-60", "mugs-61"])


def test_who_has_no_key_signs_in_and_a_key_without_the_scope_is_told_so(page, reviewing) -> None:
    store_reviewed(reviewing.service.store, "mugs", 3)
    accounts = reviewing.service.accounts
    page.goto(f"{reviewing.url}/catalogs/mugs")
    page.locator("#key").fill(accounts.create("bob"))
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".asking .wrong")).to_contain_text("has not the scope 'review'")
    page.locator("#key").fill(accounts.create("bob", scopes=("review",)))
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".cell")).to_have_count(3)
    keys(page, "a")
    saved(page)
    assert [one.by for one in CatalogVerdicts(reviewing.service.store, "mugs").all()] == ["bob"]


def asked(gateway):
    """What was asked for on the page, by row."""
    return {row: change for one in asked_changes(gateway.service.store) for row, change in one.rows.items()}


def test_a_prompt_is_edited_and_a_row_reseeded_by_keys_and_both_show_that_they_wait(page, reviewing) -> None:
    store_reviewed(reviewing.service.store, "mugs", 6, failed=0)
    visit(page, reviewing)
    keys(page, "ArrowRight p")
    page.locator("#edit-text").fill("  ")
    keys(page, "Control+Enter")
    expect(page.locator("#edit-wrong")).to_contain_text("must say something")
    page.locator("#edit-text").fill("a red mug")
    keys(page, "Control+Enter")
    expect(page.locator("#editing")).to_be_hidden()
    keys(page, "ArrowRight n")
    expect(page.locator(".cell.waits strong")).to_have_text(["mug-1", "mug-2"])
    expected = {"mug-1": RowChange(text="a red mug", shown="a mug on white, number 1"), "mug-2": RowChange(reseed=True)}
    wait_until(lambda: asked(reviewing) == expected)
    keys(page, "v")
    expect(page.locator("#version-list li")).to_have_count(1)
    page.locator("#reseed-all").click()
    expect(page.locator("#reseed-all")).to_have_text("Really make all 6 anew?")
    page.locator("#reseed-all").click()
    wait_until(lambda: any(not one.rows for one in asked_changes(reviewing.service.store)))


def two_editions(store):
    store_reviewed(store, "mugs", 5, failed=0)
    request_edition(store, "mugs", "somebody")
    begin_edition(store, "mugs")
    store_reviewed(store, "mugs", 5, failed=0, edition=1)
    finish_edition(store, "mugs", keep=2)


def test_two_editions_are_compared_and_a_row_taken_back(page, reviewing) -> None:
    two_editions(reviewing.service.store)
    visit(page, reviewing, "/catalogs/mugs/compare?at=mug-1")
    expect(page.locator("#summary")).to_have_text("5 of 5 rows differ")
    expect(page.locator(".pair.at h2")).to_have_text("mug-1")
    expect(page.locator(".pair.at .badge")).to_have_text(["Seed"])
    expect(page.locator(".pair.at .side .differs")).to_have_text(["Seed 1", "Seed 1001"])
    assert page.locator(".pair.at img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    keys(page, "ArrowDown b")
    expect(page.locator(".pair.at .take")).to_have_text("Comes back soon: 1, nothing to make")
    assert asked(reviewing) == {
        "mug-2": RowChange(seed=2, text="a mug on white, number 2", shown="a mug on white, number 2")
    }
    page.get_by_label("Left").select_option("now")
    expect(page.locator("#nothing-why")).to_have_text("No row differs.")
    keys(page, "d")
    expect(page.locator(".pair")).to_have_count(5)
    expect(page).to_have_url(re.compile("left=now&right=now&all=1"))
    keys(page, "ArrowDown ArrowDown")
    page.get_by_label("Left").select_option(index=1)
    expect(page.locator(".pair.at h2")).to_have_text("mug-2")


def test_the_choice_that_was_made_last_is_compared_and_the_place_stays(page, reviewing) -> None:
    two_editions(reviewing.service.store)
    held = []
    page.route(re.compile(r"\?of=edition-"), lambda route: held.append(route))
    visit(page, reviewing, "/catalogs/mugs/compare?left=now&right=now&all=1")
    page.get_by_label("Left").select_option(index=1)
    wait_until(lambda: page.evaluate("1") and held)
    keys(page, "ArrowDown ArrowDown")
    page.get_by_label("Left").select_option("now")
    expect(page.locator("#summary")).to_have_text("0 of 5 rows differ")
    with page.expect_response(re.compile(r"\?of=edition-")):
        held[0].continue_()
    page.wait_for_timeout(300)
    expect(page.locator("#summary")).to_have_text("0 of 5 rows differ")
    expect(page.locator(".pair.at h2")).to_have_text("mug-2")


def test_a_recipe_is_copied_once_it_is_that_of_the_picture(page, reviewing) -> None:
    store_reviewed(reviewing.service.store, "mugs", 3, failed=0)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    held = []
    visit(page, reviewing)
    keys(page, "Enter")
    expect(page.locator("#v-recipe")).to_be_enabled()
    page.route("**/picture/*", lambda route: held.append(route))
    keys(page, "ArrowRight")
    wait_until(lambda: page.evaluate("1") and held)
    expect(page.locator("#v-recipe")).to_be_disabled()
    held[0].continue_()
    page.locator("#v-recipe").click()
    expect(page.locator("#v-recipe")).to_have_text("Copied")
    assert '"seed":1' in page.evaluate("navigator.clipboard.readText()").replace(" ", "")


def test_two_models_of_a_catalog_are_compared_by_prompt(page, reviewing) -> None:
    store = reviewing.service.store
    rows = store_reviewed(store, "mugs", 6, failed=0)
    prompts = ["a red mug", "a red mug", "a blue jug"]  # one of them twice, with two seeds
    rows = [replace(row, text=prompts[n % 3], model=("one", "two")[n // 3]) for n, row in enumerate(rows)]
    for asset in (WATERMARKED_IMAGES, THUMBNAILS):
        store.put(manifest_key(asset, "mugs"), encode_manifest(rows), content_type="application/octet-stream")
    visit(page, reviewing, "/catalogs/mugs/compare")
    expect(page.locator("#summary")).to_have_text("3 of 3 rows differ")
    expect(page.locator(".pair .side:nth-of-type(1) .differs:nth-of-type(3)")).to_have_text(["one"] * 3)
    pairs = page.evaluate("comparison.shown.map((pair) => pair.map((row) => row.id))")
    assert pairs == [["mug-0", "mug-3"], ["mug-1", "mug-4"], ["mug-2", "mug-5"]]
    page.get_by_label("Left, Model").select_option("two")
    expect(page.locator("#nothing-why")).to_contain_text("There is one version only.")


@pytest.mark.parametrize(
    "page", [{"viewport": PHONE, "has_touch": True, "is_mobile": True}], indirect=True, ids=["phone"]
)
def test_a_comparison_fits_a_phone_and_is_used_by_a_finger(page, reviewing) -> None:
    two_editions(reviewing.service.store)
    visit(page, reviewing, "/catalogs/mugs/compare")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Take the left one back").first.tap()
    wait_until(lambda: list(asked(reviewing)) == ["mug-0"])

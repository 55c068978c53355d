"""Dagster's pages: what they show of a catalog, and what tenants, files and models wrote, as text."""

import json
import os
import re

import dagster as dg
import pytest
from playwright.sync_api import expect

from benchmarks.stand_in import StandInEngine, StandInGPUEngine, run_main_job, write_stand_in_model
from imagegenx_assets.definitions import RESOURCES, defs
from imagegenx_cli.embedded_dagster import dagster_instance
from models.image import FailedImage
from ops.serve_requests import materialization
from ops.serving import ResultGroup
from sensors.catalog_source import catalog_source
from tests.support.dagster_web_server import web_server
from tests.support.hostile_text import ACTS, CATALOG, HOSTILE
from tests.support.waiting import wait_until

DIALOG = ".bp5-overlay-backdrop"
ON_DEMAND, FILES = dg.AssetKey("on_demand_images"), dg.AssetKey("catalog_files")


class FailingEngine(StandInEngine):
    """Fails one picture of each catalog, with a text from outside."""

    def generate(self, jobs, on_step=None):
        first, *rest = jobs
        yield FailedImage(first.id, first.recipe, HOSTILE)
        yield from super().generate(rest, on_step)


class FailingGPUEngine(StandInGPUEngine):
    @property
    def engine(self):
        return FailingEngine()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home in which a catalog was made, and a row of another, a request and a file failed with hostile words."""
    home = tmp_path_factory.mktemp("home")
    settings = write_stand_in_model(home / "models") | {"IMAGEGENX_HOME": str(home), "DAGSTER_HOME": ""}
    for folder in ("catalogs", "inbox"):
        (home / folder).mkdir()
    (home / "catalogs/spring.csv").write_text("id,text\na,mug\nb,cup\nc,jar\n", encoding="utf-8")
    rows = [f"r{number},mug {number},128x{128 + number % 2 * 64}" for number in range(12)]
    (home / "catalogs/mugs.csv").write_text("\n".join(["id,text,resolution", *rows]), encoding="utf-8")
    (home / "inbox" / "bad\x1b[31m\u202e![p](x).csv").write_text("id,text\na,mug\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        run_main_job("mugs", StandInGPUEngine())
        run_main_job("spring", FailingGPUEngine())
        (home / "inbox" / "worse.csv").write_text(CATALOG, encoding="utf-8")
        with dagster_instance(home) as instance:
            failed = ResultGroup("2026-11-29", errors=[("img_1", HOSTILE)])
            instance.report_runless_asset_event(materialization(failed))
            for observation in refused(instance):
                instance.report_runless_asset_event(observation)
        yield home, os.environ | settings | {"DAGSTER_HOME": str(home / "dagster")}


@pytest.fixture(scope="module")
def server(home):
    """The address of a web server over the home."""
    with web_server(home[1]) as address:
        yield address


def refused(instance):
    """What two ticks of the sensor find in the inbox."""
    cursor = None
    for _ in range(2):
        resources = {name: RESOURCES[name].model_copy() for name in ("settings", "object_store")}
        repository = defs.get_repository_def()
        with dg.build_sensor_context(instance, cursor, repository_def=repository, resources=resources) as context:
            result = catalog_source(context)
        looked_at, _, memory = result.cursor.partition("\n")
        cursor = f"{float(looked_at) - 1e6}\n{memory}"
    assert len(result.asset_events) == 3, "two files, and the check that fails of them"
    return result.asset_events


def events(folder):
    """Every event of the instance: those of its runs, and those outside of runs."""
    with dagster_instance(folder) as instance:
        for run in instance.get_runs():
            yield from instance.all_logs(run.run_id)
        yield from (one.event_log_entry for one in instance.fetch_materializations(ON_DEMAND, limit=9).records)
        yield from (one.event_log_entry for one in instance.fetch_observations(FILES, limit=9).records)
        checks = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(FILES, "accepted"), 9)
        yield from (one.event for one in checks)


def shown(event):
    """The metadata and the description of an event that has some."""
    data = event.dagster_event.event_specific_data if event.dagster_event else None
    one = getattr(data, "materialization", None) or getattr(data, "asset_observation", None) or data
    return getattr(one, "metadata", None) or {}, getattr(one, "description", None) or ""


def test_metadata_holds_no_markdown_from_outside_and_nothing_that_acts(home):
    hostile = 0
    for event in events(home[0]):
        metadata, description = shown(event)
        assert not ACTS.search(event.user_message), event.user_message
        assert not ACTS.search(description)
        assert not re.sub("`[^`]*`", "", description).count("attacker")
        for name, value in metadata.items():
            text = json.dumps(dg.serialize_value(value), ensure_ascii=False)
            if isinstance(value, dg.MarkdownMetadataValue):
                assert re.fullmatch(r"!\[contact sheet\]\(data:image/webp;base64,[\w+/=]*\)|", value.value), name
            assert not ACTS.search(text), name
            hostile += "attacker" in text
    assert hostile >= 5, "a failed row, its check, two later stages, a request and a file were told of"


def is_closed(page) -> bool:
    """Whether the dialog is, which takes a key only once it has the focus."""
    page.keyboard.press("Escape")
    return page.locator(DIALOG).count() == 0


def test_dagsters_pages_show_outside_text_as_text(home, server, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    with dagster_instance(home[0]) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "spring"}))
    views = [
        *(f"assets/{asset}?view=events" for asset in ("generated_images", "catalog_files", "on_demand_images")),
        "assets/generated_images?view=checks&checkDetail=quality",
        "assets/catalog_files?view=checks&checkDetail=accepted",
        f"runs/{run.run_id}",
    ]
    for view in views:
        page.goto(f"{server}/{view}")
        outside = "![p](x).csv" if "accepted" in view else "graphql?query="
        expect(page.get_by_text(outside).first).to_be_visible()
        for button in page.get_by_text(re.compile(r"^\[?Show (Table|Markdown)\]?$", re.IGNORECASE)).all():
            button.click()
            expect(page.locator(DIALOG).first).to_be_visible()
            wait_until(lambda: is_closed(page))
        assert page.locator("a[href^='javascript:'], img[src*='attacker'], img[src*='graphql?query']").count() == 0
    assert [url for url in asked if "query=" in url or "attacker" in url] == []


def test_the_asset_page_shows_the_contact_sheet_and_the_counts(server, page):
    page.goto(f"{server}/assets/generated_images?view=partitions&partition=mugs")

    sheet = page.locator('img[src^="data:image/webp;base64,"]').first
    show = page.get_by_text("[Show Markdown]").first
    expect(show.or_(sheet).first).to_be_visible()
    if not sheet.is_visible():
        show.click()
    expect(sheet).to_be_visible()
    assert sheet.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [604, 204]
    expect(page.get_by_text("manifests/generated_images/mugs.parquet", exact=True)).to_be_visible()

"""The Dagster web server's asset page in a real browser."""

import os

import pytest
from playwright.sync_api import expect

from benchmarks.main_job import run_main_job
from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model
from tests.support.dagster_web_server import web_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a web server over a home folder in which a catalog was made."""
    home = tmp_path_factory.mktemp("home")
    settings = write_stand_in_model(home / "models") | {"IMAGEGENX_HOME": str(home), "DAGSTER_HOME": ""}
    (home / "catalogs").mkdir()
    rows = [f"r{number},mug {number},128x{128 + number % 2 * 64}" for number in range(12)]
    (home / "catalogs/spring.csv").write_text("\n".join(["id,text,resolution", *rows]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        run_main_job("spring", StandInGPUEngine())
    environment = os.environ | settings | {"DAGSTER_HOME": str(home / "dagster")}
    with web_server(environment) as address:
        yield address


def test_the_asset_page_shows_the_contact_sheet_and_the_counts(server, page, tmp_path):
    page.goto(f"{server}/assets/generated_images?view=partitions&partition=spring")

    sheet = page.locator('img[src^="data:image/webp;base64,"]').first
    show = page.get_by_text("[Show Markdown]").first
    expect(show.or_(sheet).first).to_be_visible(timeout=60_000)
    if not sheet.is_visible():
        show.click()
    expect(sheet).to_be_visible()
    page.screenshot(path=tmp_path / "asset_page.png", full_page=True)
    assert sheet.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [604, 204]
    expect(page.get_by_text("manifests/generated_images/spring.parquet", exact=True)).to_be_visible()

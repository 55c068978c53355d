"""The Dagster web server's asset page in a real browser."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.main_job import run_main_job
from benchmarks.stand_in import StandInGPUEngine, write_stand_in_model
from configs.settings import PACKAGE_ROOT

START_LIMIT_S = 120


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
    yield from serve(environment)


def serve(environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tool = Path(sys.executable).with_name("dagster-webserver")
    command = [tool, "--workspace", PACKAGE_ROOT / "workspace.yaml", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        command, env=environment, cwd=PACKAGE_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/server_info", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def wait_for(url, process):
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        assert process.poll() is None, "the web server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"no answer from {url} in {START_LIMIT_S} s")


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
    expect(page.get_by_text("manifests/generated_images/spring.parquet")).to_be_visible()

"""A person's way from a spreadsheet to delivered pictures, while the gateway is killed in between."""

import csv
import io

import dagster as dg
from playwright.sync_api import expect
from pydantic import SecretStr

from configs.settings import load_settings
from imagegenx_assets.published import published_images
from ops.catalog.registered import RegisteredCatalogs
from ops.editions import wanted_edition
from ops.review.verdicts import CatalogVerdicts
from resources.object_store_resource import ObjectStoreResource
from resources.open_store import open_store
from resources.settings_resource import SettingsResource
from sensors.reviews import reviews_sensor
from tests.support.browser import running_browser
from tests.support.catalog_writer import REGISTRY, write
from tests.support.gateway_process import gateway_process
from tests.support.ray_cluster import free_ports
from tests.support.reviewed_catalog import store_rows
from tests.support.waiting import wait_until

ROWS, REJECTED, GIVEN_UP = 20, 3, 1
TOKEN = SecretStr("start-up-token")
RESOURCES = {"settings": SettingsResource(), "object_store": ObjectStoreResource(settings=SettingsResource())}
IDS = [f"m{number}" for number in range(ROWS)]


def visit(browser, url):
    page = browser.new_page()
    page.goto(f"{url}/catalogs/mugs#token={TOKEN.get_secret_value()}")
    page.wait_for_selector("html[data-ready]")
    return page


def press(page, keys):
    for key in keys:
        page.keyboard.press(key)


def verdicts(store):
    return {one.row: one.state.value for one in CatalogVerdicts(store, "mugs").all() if one.state}


def tick(instance, cursor):
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=RESOURCES) as context:
        return reviews_sensor(context)


def test_a_spreadsheet_becomes_delivered_pictures_and_no_verdict_is_lost_to_kills(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    store, port = open_store(load_settings().store), free_ports(1)[0]
    catalogs = RegisteredCatalogs(store, renew_after_s=60)
    table = "id,text,Kind\n" + "".join(f"{row},a mug {row},cup\n" for row in IDS)
    write(tmp_path, "products.csv", table)
    yaml = "rows_from: products.csv\ncolumns: {id: id, text: text}\ncarry: [Kind]\nreview: required\nremake: 1\n"
    catalogs.register(write(tmp_path, "mugs.yaml", yaml), REGISTRY)
    first = store_rows(store, "mugs", IDS)
    options = {"GATEWAY__HTTP_PORT": port, "GATEWAY__PAGE_TOKEN": TOKEN.get_secret_value()}
    with running_browser() as browser, dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("catalogs", ["mugs"])
        with gateway_process(tmp_path, **options) as gateway:
            page = visit(browser, gateway.url)
            press(page, "rrr1aaaa")
            expect(page.locator("#saving")).to_have_text("All saved")
            gateway.process.kill()
            gateway.process.wait()
        press(page, "a" * 5)
        expect(page.locator("#saving")).to_contain_text("not saved yet")
        with gateway_process(tmp_path, **options) as gateway:
            expect(page.locator("#saving")).to_have_text("All saved")
            press(page, "a" * (ROWS - REJECTED - 9))
            expect(page.locator("#saving")).to_have_text("All saved")
            expected = dict.fromkeys(IDS[:REJECTED], "rejected") | dict.fromkeys(IDS[REJECTED:], "approved")
            wait_until(lambda: verdicts(store) == expected)
            tick(instance, None)  # by a daemon that is killed before it has kept the tick
            again = tick(instance, None)
            assert [one.run_key.partition(":")[0] for one in again.run_requests] == ["remake"]
            assert wanted_edition(store, "mugs").rows == dict.fromkeys(IDS[:REJECTED], 1)
            store_rows(store, "mugs", IDS, edition=1, only=IDS[:REJECTED], before=first)  # as that run does
            page.locator("#states .unreviewed").click()
            expect(page.locator(".cell")).to_have_count(REJECTED, timeout=30_000)
            press(page, "raa")
            expect(page.locator("#saving")).to_have_text("All saved")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("catalogs", ["mugs"])
        done = tick(instance, again.cursor)
        assert [one.run_key.partition(":")[0] for one in done.run_requests] == ["review"]
        assert dg.materialize([published_images], instance=instance, partition_key="mugs", resources=RESOURCES).success
    pictures = {found.key for found in store.list("published/mugs/") if found.key.endswith(".webp")}
    assert pictures == {f"published/mugs/{row}.webp" for row in IDS[GIVEN_UP:]}
    results = store.get("published/mugs/results.csv").decode("utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(results)))
    assert [one["verdict"] for one in lines] == ["rejected"] + ["approved"] * (ROWS - 1)
    assert lines[1]["Kind"] == "cup"

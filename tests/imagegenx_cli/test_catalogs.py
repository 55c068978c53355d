import json
import re
import time
import zipfile

import pytest
from dagster import AssetKey, AssetMaterialization, DagsterInstance

from configs.settings import load_settings
from imagegenx_cli import catalogs
from models.registry import open_registry
from ops.catalog.home_folder import open_catalogs
from resources.open_store import open_store
from tests.support.catalog_writer import registered_text
from tests.support.reviewed_catalog import store_rows

GOOD = "id,text\na,a red mug\nb,a blue mug\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cups.csv"
    path.write_text(GOOD, encoding="utf-8")
    return path


def registered():
    settings = load_settings()
    return open_catalogs(settings, open_store(settings.store))


def partitions(home):
    with DagsterInstance.from_config(str(home / "dagster")) as instance:
        return instance.get_dynamic_partitions("catalogs")


def test_validate_tells_the_number_of_rows_and_registers_nothing(imagegenx, home, file):
    told = "catalog 'cups': 2 rows, no problems: 2 new, 0 kept, how long random takes is not known here yet.\n"
    assert imagegenx("catalog", "validate", file) == (0, told, "")
    assert registered().names() == []


def test_validate_finds_a_picture_that_is_nowhere(imagegenx, file):
    file.write_text("id,text,image\na,a shoe,in/shoe.png\n", encoding="utf-8")

    status, _, error = imagegenx("catalog", "validate", file)

    assert status == 1
    assert "line 2, image: 'in/shoe.png' is neither a file beside the catalog nor an object in the store" in error


def test_validate_lists_every_problem_with_row_and_column(imagegenx, file):
    file.write_text("id,text,steps\na,,20\nb,a mug,many\n", encoding="utf-8")

    status, output, error = imagegenx("catalog", "validate", file)

    assert (status, output) == (1, "")
    assert error.startswith("error: catalog 'cups': 2 problems\n")
    assert "text" in error
    assert "'many' is not a whole number" in error


def test_add_makes_the_catalog_a_partition_and_a_second_time_replaces_it(imagegenx, home, file):
    assert imagegenx("catalog", "add", file) == (0, "catalog 'cups': 2 rows, registered.\n", "")
    file.write_text(GOOD + "c,a green mug\n", encoding="utf-8")
    assert imagegenx("catalog", "add", file) == (0, "catalog 'cups': 3 rows, registered.\n", "")

    assert list(partitions(home)) == ["cups"]
    assert registered_text(registered(), "cups") == GOOD + "c,a green mug\n"


def test_a_catalog_with_problems_is_not_added(imagegenx, home, file):
    imagegenx("catalog", "add", file)
    file.write_text("id,text\na,a mug\na,a cup\n", encoding="utf-8")

    assert imagegenx("catalog", "add", file)[0] == 1
    assert registered_text(registered(), "cups") == GOOD


def test_an_instance_of_ones_own_is_used_if_dagster_home_names_it(imagegenx, tmp_path, file, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere"))

    imagegenx("catalog", "add", file)

    with DagsterInstance.from_config(str(tmp_path / "elsewhere")) as instance:
        assert list(instance.get_dynamic_partitions("catalogs")) == ["cups"]
        assert instance.telemetry_enabled is False


class Shipped:
    """A shipped catalog that an update may change."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.setattr(catalogs, "SHIPPED_CATALOGS", folder)
        folder.mkdir()
        self.file = folder / "demo.csv"
        self.settings = load_settings()

    def register(self, content):
        self.file.write_text(content, encoding="utf-8")
        catalogs.register_shipped("demo", self.settings, open_registry(self.settings))
        return registered_text(registered(), "demo")

    def replace(self, content):
        """Register a catalog of one's own under this name."""
        own = self.file.parent.parent / "demo.csv"
        own.write_text(content, encoding="utf-8")
        registered().register(own, open_registry(self.settings))


@pytest.fixture
def shipped(home, tmp_path, monkeypatch):
    return Shipped(tmp_path / "shipped", monkeypatch)


def test_a_shipped_catalog_is_registered_once_with_the_logos(shipped):
    assert shipped.register(GOOD) == GOOD
    assert {logo.name for logo in shipped.settings.logo_folder.iterdir()} == {
        logo.name for logo in catalogs.SHIPPED_LOGOS.iterdir()
    }


def test_an_update_of_the_shipped_catalog_replaces_its_unedited_copy(shipped):
    shipped.register(GOOD)

    assert shipped.register(GOOD + "c,a green mug\n") == GOOD + "c,a green mug\n"


def test_an_edited_copy_wins_over_the_shipped_catalog(shipped):
    shipped.register(GOOD)
    shipped.replace(GOOD.replace("red", "black"))

    assert "black" in shipped.register(GOOD + "c,a green mug\n")


def test_a_catalog_of_ones_own_wins_over_a_shipped_one_of_that_name(shipped):
    shipped.replace("id,text\nmine,my mug\n")

    assert "mine" in shipped.register(GOOD)


def test_catalogs_are_listed_and_retired_for_good(imagegenx, home, file):
    imagegenx("catalog", "add", file)
    (home / "inbox").mkdir()
    (home / "inbox/cups.csv").write_text(GOOD, encoding="utf-8")

    status, told, _ = imagegenx("catalog", "retire", "cups")

    assert status == 0
    assert told.splitlines() == [
        "catalog 'cups' is retired. Its pictures go after 30 days; `catalog add` brings it back.",
        f"{home}/inbox/cups.csv still lies in the watched folder: an edit of it would register the catalog again.",
    ]
    assert list(partitions(home)) == []
    events = json.loads(imagegenx("audit", "--event", "catalog", "--json")[1])
    assert [event["event"] for event in events] == ["catalog.registered", "catalog.retired"]
    assert {event["catalog"] for event in events} == {"cups"}
    (listed,) = json.loads(imagegenx("catalog", "list", "--json")[1])
    said = {"name": "cups", "state": "retired", "file": "cups.csv"}
    assert listed == said | dict.fromkeys(("made_at", "schedule", "next_due", "owner"), "")
    assert imagegenx("catalog", "retire", "cups")[0] == 1
    assert imagegenx("catalog", "add", file)[0] == 0
    assert list(partitions(home)) == ["cups"]


def test_the_list_shows_schedules_and_says_how_to_begin(imagegenx, tmp_path):
    assert imagegenx("catalog", "list")[1] == "No catalogs yet. Add one with `imagegenx catalog add FILE`.\n"
    yaml = "schedule: 0 6 * * *\nowner: ann\nrows: [{text: a}]\n"
    (tmp_path / "春季.yaml").write_text(yaml, encoding="utf-8")
    imagegenx("catalog", "add", tmp_path / "春季.yaml")

    names, line = imagegenx("catalog", "list")[1].splitlines()
    assert names == "name  state       file       made_at  schedule   next_due              owner"
    assert re.fullmatch(r"春季  registered  春季.yaml  -        0 6 \* \* \*  20\d\d-\d\d-\d\d 06:00 UTC  ann", line)


@pytest.mark.parametrize("made", [True, False])
def test_a_partition_that_was_deleted_in_dagster_does_not_come_back(imagegenx, home, file, made):
    imagegenx("catalog", "add", file)
    settings = load_settings()
    with DagsterInstance.from_config(str(home / "dagster")) as instance:
        if made:
            instance.report_runless_asset_event(AssetMaterialization("prompt_catalog", partition="cups"))
        instance.delete_dynamic_partition("catalogs", "cups")

        catalogs.add_partitions(instance, settings)

        assert list(instance.get_dynamic_partitions("catalogs")) == []
    assert registered().retired_names() == ["cups"]


def test_export_writes_pictures_and_results_and_refuses_other_places(imagegenx, home, file, tmp_path):
    imagegenx("catalog", "add", file)
    store = registered().store
    store_rows(store, "cups", ["a", "b"], failed=1)
    told = "1 pictures in {}, 1 written, 0 kept, 0 removed; 0 approved, 0 rejected, 1 to review, 1 failed.\n"
    status, output, _ = imagegenx("catalog", "export", "cups", "-o", tmp_path / "out")
    assert (status, output) == (0, f"catalog 'cups': {told.format(tmp_path / 'out')}")
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "a.webp",
        "imagegenx-export.json",
        "results.csv",
    ]
    assert imagegenx("catalog", "export", "cups", "-o", tmp_path / "cups.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "cups.zip") as packed:
        assert (packed.namelist(), packed.testzip()) == (["a.webp", "results.csv"], None)
    for place, reason in (
        (file, "is a file"),
        (tmp_path, "holds other files"),
        (tmp_path / "cups.zip", "there already"),
    ):
        status, _, error = imagegenx("catalog", "export", "cups", "-o", place)
        assert (status, reason in error) == (1, True)
    status, _, error = imagegenx("catalog", "export", "nobody", "-o", tmp_path / "none")
    assert (status, "no such catalog is registered" in error, (tmp_path / "none").exists()) == (1, True, False)


def test_set_says_what_a_csv_cannot(imagegenx, home, file):
    imagegenx("catalog", "add", file)
    status, output, _ = imagegenx("catalog", "set", "cups", "review=required", "owner=ann", "cron=0 6 * * 1")
    assert (status, output) == (0, "catalog 'cups': cron=0 6 * * 1, owner=ann, review=required.\n")
    assert "0 6 * * 1" in imagegenx("catalog", "list")[1]
    assert registered().get("cups").review.required
    with DagsterInstance.from_config(str(home / "dagster")) as instance:
        told = instance.fetch_observations(AssetKey("gallery"), limit=1).records[0].asset_observation
    facts = {name: value.value for name, value in told.metadata.items()}
    assert (told.partition, facts["owner"], facts["schedule"]) == ("cups", "ann", "0 6 * * 1 UTC, changed")
    assert facts["next_due"] > time.time()
    status, _, error = imagegenx("catalog", "set", "cups", "cron=often")
    assert (status, "cron" in error) == (1, True)
    assert imagegenx("catalog", "set", "cups", "cron=", "review=", "owner=")[1].endswith("as its file says.\n")
    given = [event["given"] for event in json.loads(imagegenx("audit", "--event", "catalog.set", "--json")[1])]
    assert given == [{"cron": "0 6 * * 1", "owner": "ann", "review": "required"}, {}]

"""What reviewers ask of a catalog at its address, as far as the sensor that makes it."""

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from ops.editions import begin_edition, finish_edition, wanted_edition
from ops.review.asked import asked_changes
from resources.object_store_resource import ObjectStoreResource
from resources.settings_resource import SettingsResource
from sensors.asked_changes import asked_changes_sensor
from tests.support.reviewed_catalog import store_reviewed

API = "/api/v1/catalogs/mugs"


@pytest.fixture
def tick(reviewing, monkeypatch):
    """Ticks of the sensor over the gateway's store; returns what each launches."""
    monkeypatch.setenv("IMAGEGENX_HOME", str(reviewing.service.settings.home))
    resources = {"settings": SettingsResource(), "object_store": ObjectStoreResource(settings=SettingsResource())}
    cursors = [None]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("catalogs", ["mugs"])

        def tick(cursor=None):
            before = cursor or cursors[-1]
            with dg.build_sensor_context(instance=instance, cursor=before, resources=resources) as context:
                result = asked_changes_sensor(context)
            if isinstance(result, dg.SkipReason):
                return []
            cursors.append(result.cursor)
            return result.run_requests

        tick.instance = instance
        yield tick


def test_an_edited_prompt_is_made_with_one_run_and_then_waits_no_longer(reviewing, person, tick) -> None:
    store, ann = reviewing.service.store, person()
    rows = store_reviewed(store, "mugs", 3)
    wish = {"id": "wish-number-1", "texts": {"mug-1": "  a red mug "}}
    for _ in range(2):  # sent again, it is the same
        told = ann.post(f"{API}/edit", json=wish).json()
        assert (told["code"], told["data"]) == (200, {"id": "wish-number-1", "rows": 1, "to_make": 1})
    person("bob").post(f"{API}/reseed", json={"rows": ["mug-0"]})
    assert sorted(ann.get(f"{API}/state").json()["data"]["asked"]) == [["mug-0"], ["mug-1"]]

    (run,) = tick()

    assert (run.partition_key, run.tags["imagegenx/asked_by"]) == ("mugs", "ann, bob")
    wanted = wanted_edition(store, "mugs")
    assert (wanted.edition, wanted.rows, wanted.seed_edition) == (1, {"mug-0": 1}, 0)
    assert wanted.texts == {"mug-1": ["a red mug", rows[1].text]}
    assert tick() == []
    assert ann.get(f"{API}/state").json()["data"]["asked"] == []
    assert "catalog.changed" in (reviewing.service.settings.audit.folder / "audit.jsonl").read_text()


def test_a_tick_that_is_evaluated_twice_asks_for_the_same_run_and_counts_nothing_twice(reviewing, person, tick) -> None:
    store_reviewed(reviewing.service.store, "mugs", 3)
    person().post(f"{API}/reseed", json={"rows": ["mug-0"]})
    assert [one.run_key for one in tick("[]")] == [one.run_key for one in tick("[]")]
    assert wanted_edition(reviewing.service.store, "mugs").rows == {"mug-0": 1}


def test_what_is_asked_while_a_run_is_under_way_waits_for_an_edition_of_its_own(reviewing, person, tick) -> None:
    store, ann = reviewing.service.store, person()
    store_reviewed(store, "mugs", 3)
    ann.post(f"{API}/reseed", json={"rows": ["mug-0"]})
    assert len(tick()) == 1
    tags = {"dagster/partition": "mugs"}
    run = create_run_for_test(tick.instance, job_name="catalog", tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert begin_edition(store, "mugs") == 1
    ann.post(f"{API}/reseed", json={"rows": ["mug-1"]})
    assert tick() == []
    assert ann.get(f"{API}/state").json()["data"]["asked"] == [["mug-1"]]
    assert wanted_edition(store, "mugs").rows == {"mug-0": 1}
    finish_edition(store, "mugs", keep=2)
    tick.instance.report_run_canceled(run)
    assert len(tick()) == 1
    wanted = wanted_edition(store, "mugs")
    assert (wanted.edition, wanted.rows) == (2, {"mug-0": 1, "mug-1": 1})


def test_all_rows_are_reseeded_as_a_new_edition(reviewing, person, tick) -> None:
    store_reviewed(reviewing.service.store, "mugs", 3)
    assert person().post(f"{API}/reseed", json={}).json()["data"]["to_make"] == 3
    assert len(tick()) == 1
    assert wanted_edition(reviewing.service.store, "mugs").seed_edition == 1


def test_going_back_to_an_edition_makes_no_picture_and_is_possible_for_a_row(reviewing, person, tick) -> None:
    store, ann = reviewing.service.store, person()
    before = recipes(store_reviewed(store, "mugs", 3, failed=0))
    ann.post(f"{API}/reseed", json={})
    tick()
    begin_edition(store, "mugs")
    for end in (lambda: None, lambda: finish_edition(store, "mugs", keep=2)):  # while its run goes on, and then
        recipes(store_reviewed(store, "mugs", 3, failed=0, edition=1))
        end()
        found = ann.get(f"{API}/versions").json()["data"]["versions"]
        assert [(one["of"], one["edition"]) for one in found] == [("now", 1), ("edition-0", 0)]
    old = ann.get(API, params={"of": "edition-0"}).json()["data"]
    assert [dict(zip(old["columns"], row, strict=True))["recipe_digest"] for row in old["rows"]] == before

    told = ann.post(f"{API}/roll-back", json={"to": "edition-0", "rows": ["mug-1"]}).json()["data"]

    assert (told["rows"], told["to_make"]) == (1, 0)
    tick()
    assert wanted_edition(store, "mugs").fixed == {"mug-1": 1}
    assert ann.post(f"{API}/roll-back", json={"to": "edition-0"}).json()["data"]["rows"] == 3
    assert ann.post(f"{API}/roll-back", json={"to": "edition-9"}).status_code == 404


def recipes(rows):
    """Of an edition: the seeds of rows are those of the edition."""
    return [row.recipe_digest for row in rows]


@pytest.mark.parametrize(
    ("what", "given", "field"),
    [
        ("edit", {}, "texts"),
        ("edit", {"texts": {"mug-9": "a mug"}}, "rows"),
        ("edit", {"texts": {"mug-1": "  "}}, "texts.mug-1"),
        ("edit", {"texts": {"mug-1": 7}}, "texts.mug-1"),
        ("edit", {"texts": {"mug-1": "red " * 601}}, "texts.mug-1"),
        ("edit", {"texts": {"mug-1": "a mug"}, "rows": []}, "rows"),
        ("edit", {"id": "../../x", "texts": {"mug-1": "a mug"}}, "id"),
        ("reseed", {"rows": "mug-1"}, "rows"),
        ("reseed", {"rows": []}, "rows"),
        ("roll-back", {"to": "now", "rows": []}, "rows"),
        ("reseed", {"rows": [["mug-1"]]}, "rows"),
        ("roll-back", {"to": "now"}, "to"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_field(reviewing, person, what, given, field) -> None:
    store_reviewed(reviewing.service.store, "mugs", 2)
    answer = person().post(f"{API}/{what}", json=given)
    assert answer.status_code == 422, answer.text
    assert answer.json()["data"]["problems"][0]["field"] == field
    assert list(asked_changes(reviewing.service.store)) == []


def test_a_catalog_that_was_never_made_can_be_asked_for_nothing(reviewing, person) -> None:
    store_reviewed(reviewing.service.store, "mugs", 0, failed=0)
    reviewing.service.store.delete("manifests/watermarked_images/mugs.parquet")
    assert person().post(f"{API}/reseed", json={}).status_code == 409

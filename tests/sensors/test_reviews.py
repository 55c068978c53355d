"""What is reviewed is published, what is rejected is made again, and nothing waits in a run."""

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from configs.settings import load_settings
from imagegenx_assets.published import published_images
from ops.catalog.registered import RegisteredCatalogs
from ops.catalog.rows import ReviewPolicy
from ops.editions import wanted_edition
from ops.review.verdicts import CatalogVerdicts, State, new_verdict
from resources.dagster_names import STAGES
from resources.object_store_resource import ObjectStoreResource
from resources.open_store import open_store
from resources.settings_resource import SettingsResource
from sensors.reviews import reviews_sensor
from tests.support.catalog_writer import REGISTRY, write
from tests.support.reviewed_catalog import store_reviewed, store_rows

RESOURCES = {"settings": SettingsResource(), "object_store": ObjectStoreResource(settings=SettingsResource())}


@pytest.fixture
def instance(tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEGENX_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("catalogs", ["mugs", "free"])
        yield instance


@pytest.fixture
def store(instance):
    store = open_store(load_settings().store)
    store.check()
    return store


def say(store, state, *rows):
    CatalogVerdicts(store, "mugs").record(
        [new_verdict(row.recipe_digest, row.row_id, "ann", state=state) for row in rows]
    )


def tick(instance, cursor=None):
    with dg.build_sensor_context(instance=instance, cursor=cursor, resources=RESOURCES) as context:
        return reviews_sensor(context)


def checked(result):
    return next(event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation))


def test_a_review_is_published_once_every_picture_has_a_verdict(instance, store) -> None:
    rows = store_reviewed(store, "mugs", 4, failed=1, review=ReviewPolicy(required=True, owner="ann"))
    store_reviewed(store, "free", 2)
    say(store, State.APPROVED, rows[0])
    first = tick(instance)
    assert first.run_requests == []
    found = checked(first)
    assert (found.check_name, found.passed, found.severity) == ("reviewed", False, dg.AssetCheckSeverity.WARN)
    assert "2 of 3 pictures wait for a verdict of ann; 1 approved, 0 rejected" in found.description
    assert isinstance(tick(instance, first.cursor), dg.SkipReason)
    say(store, State.APPROVED, rows[1])
    say(store, State.REJECTED, rows[2])
    second = tick(instance, first.cursor)
    assert [(one.partition_key, one.asset_selection) for one in second.run_requests] == [
        ("mugs", [dg.AssetKey("published_images")])
    ]
    assert checked(second).passed
    say(store, State.REJECTED, rows[0])
    third = tick(instance, second.cursor)
    assert [one.partition_key for one in third.run_requests] == ["mugs"]
    assert third.run_requests[0].run_key != second.run_requests[0].run_key


def test_a_rejected_picture_is_made_again_so_often_as_the_catalog_says(instance, store) -> None:
    policy = ReviewPolicy(required=True, remake=2)
    cursor, counts = None, []
    for edition in range(4):
        rows = store_reviewed(store, "mugs", 3, failed=0, review=policy, edition=edition)
        say(store, State.APPROVED, rows[0], rows[1])
        say(store, State.REJECTED, rows[2])
        result = tick(instance, cursor)
        cursor = result.cursor
        counts.append(wanted_edition(store, "mugs").rows.get("mug-2", 0))
        remade = [one for one in result.run_requests if one.run_key.startswith("remake:")]
        assert len(remade) == (1 if edition < 2 else 0)
        assert all(one.asset_selection == [dg.AssetKey(name) for name in STAGES] for one in remade)
        assert len(result.run_requests) == 1, "given up, it is published without"
    assert counts == [1, 2, 2, 2]


def test_a_verdict_that_comes_while_a_row_is_made_again_asks_for_no_other_seed_of_it(instance, store) -> None:
    rows = store_reviewed(store, "mugs", 3, failed=0, review=ReviewPolicy(required=True, remake=3))
    say(store, State.REJECTED, rows[0])
    first = tick(instance)
    say(store, State.REJECTED, rows[1])
    tick(instance, first.cursor)
    assert wanted_edition(store, "mugs").rows == {"mug-0": 1, "mug-1": 1}


def test_a_rejected_row_is_not_made_again_beside_a_run_that_does_not_know_of_it(instance, store) -> None:
    rows = store_reviewed(store, "mugs", 3, failed=0, review=ReviewPolicy(required=True, remake=1))
    first = tick(instance)
    say(store, State.REJECTED, rows[0])
    tags = {"dagster/partition": "mugs"}
    run = create_run_for_test(instance, job_name="catalog", tags=tags, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(tick(instance, first.cursor), dg.SkipReason)
    assert wanted_edition(store, "mugs").rows == {}
    instance.report_run_canceled(run)
    assert len(tick(instance, first.cursor).run_requests) == 1
    assert wanted_edition(store, "mugs").rows == {"mug-0": 1}


def test_the_asset_delivers_what_is_approved_into_the_store(instance, store, tmp_path) -> None:
    file = write(tmp_path, "mugs.csv", "id,text\nm0,a mug\nm1,a jug\n")
    catalogs = RegisteredCatalogs(store, renew_after_s=60)
    catalogs.register(file, REGISTRY)
    catalogs.give("mugs", {"review": "required"}, REGISTRY)
    rows = store_rows(store, "mugs", ["m0", "m1"])
    say(store, State.APPROVED, rows[1])
    result = dg.materialize([published_images], instance=instance, partition_key="mugs", resources=RESOURCES)
    assert result.success
    keys = {found.key for found in store.list("published/mugs/")}
    assert keys == {"published/mugs/m1.webp", "published/mugs/results.csv", "published/mugs/imagegenx-export.json"}
    (made,) = result.asset_materializations_for_node("published_images")
    facts = {name: value.value for name, value in made.metadata.items()}
    assert (facts["approved"], facts["unreviewed"], facts["written"]) == (1, 1, 1)
    (found,) = result.get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_what_a_release_on_trial_made_gets_no_new_seed(instance, store, monkeypatch) -> None:
    rows = store_reviewed(store, "mugs", 3, failed=0, review=ReviewPolicy(required=True, remake=1))
    say(store, State.REJECTED, rows[0])
    with monkeypatch.context() as on_trial:
        on_trial.setenv("IMAGEGENX_RELEASES__BACKFILL", "trial")
        on_trial.setenv("IMAGEGENX_RELEASES__CATALOGS", '["mugs"]')
        assert tick(instance).run_requests == []
        assert wanted_edition(store, "mugs").rows == {}
    assert len(tick(instance).run_requests) == 1

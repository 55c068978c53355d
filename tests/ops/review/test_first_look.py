"""What the first look at a catalog's pictures leads to."""

import io
from dataclasses import replace

import pytest
from PIL import Image

from configs.lifecycle_settings import CheckSettings
from io_managers.image_set import encode_manifest, manifest_key, read_image_set
from ops.catalog.rows import ReviewPolicy
from ops.review.catalog_view import CatalogViews
from ops.review.first_look import look_first
from ops.review.verdicts import CatalogVerdicts, State, new_verdict
from resources.local_store import LocalObjectStore
from tests.support.reviewed_catalog import store_reviewed
from training.renderer import Scene, render

FLAGGED = ReviewPolicy(required=True, flagged=True, remake=2)


@pytest.fixture
def store(tmp_path):
    """A catalog of a good picture and a blank one; their prompts name no colour of a product."""
    store = LocalObjectStore(tmp_path)
    rows = store_reviewed(store, "mugs", 2, failed=0, text="a mug on a light blue background")
    file = io.BytesIO()
    Image.fromarray(render(Scene("mug", "yellow", "light blue", seed=1)).rgb).save(file, "WEBP")
    store.put(rows[0].key, file.getvalue(), content_type="image/webp")
    return store


def look(store, policy, **settings):
    return look_first(read_image_set(store, "watermarked_images", "mugs"), policy, CheckSettings(**settings))


def said(store):
    return {one.row: (one.state, one.by, one.reason) for one in CatalogVerdicts(store, "mugs").all()}


def test_what_nobody_doubts_is_approved_and_what_is_surely_wrong_rejected(store):
    scores = look(store, FLAGGED)

    assert [set(one) >= {"contrast", "background"} for one in scores.values()] == [True, True]
    assert said(store)["mug-0"] == (State.APPROVED, "first look", "")
    assert said(store)["mug-1"][:2] == (State.REJECTED, "first look")
    assert said(store)["mug-1"][2].startswith("contrast 0.0")
    view = CatalogViews(store).get("mugs")
    assert dict(zip(["mug-0", "mug-1"], (row[-3] for row in view.table()), strict=True))["mug-1"]["contrast"] < 0.1


def test_a_doubted_picture_waits_for_a_person_and_a_persons_word_stands(store):
    look(store, FLAGGED, remake_below={})
    assert said(store) == {"mug-0": (State.APPROVED, "first look", "")}
    (row,) = [row for row in CatalogViews(store).get("mugs").rows if row.row_id == "mug-0"]
    word = new_verdict(row.recipe_digest, "mug-0", "ann", state=State.REJECTED)
    CatalogVerdicts(store, "mugs").record([word])

    look(store, FLAGGED, remake_below={})

    assert said(store)["mug-0"][:2] == (State.REJECTED, "ann")


def test_where_all_are_reviewed_only_the_surely_wrong_are_judged(store):
    look(store, ReviewPolicy(required=True))
    assert said(store) == {}
    look(store, ReviewPolicy(required=True, remake=1))
    assert list(said(store)) == ["mug-1"]


def test_pictures_are_scored_once(store, monkeypatch):
    look(store, FLAGGED)
    for key in list(store.list("pictures/")):
        store.delete(key.key)
    assert len(look(store, FLAGGED)) == 2


def half(seen):
    return 0.5


def test_a_scorer_that_comes_later_scores_what_is_there_and_its_doubts_count(store):
    look(store, FLAGGED)
    assert said(store)["mug-0"] == (State.APPROVED, "first look", "")
    scorers = ("contrast", "cut_off", f"{__name__}:half")
    scores = look(store, FLAGGED, scorers=scorers, review_below={"half": 0.6})
    assert all({"half", "contrast"} <= one.keys() <= {"half", "contrast", "cut_off"} for one in scores.values())
    assert said(store)["mug-0"] == (State.UNREVIEWED, "first look", "")
    look(store, FLAGGED, scorers=scorers, review_below={"half": 0.4})
    assert said(store)["mug-0"] == (State.APPROVED, "first look", "")


def test_a_star_is_no_verdict_and_each_is_said_once(store):
    (row,) = [row for row in read_image_set(store, "watermarked_images", "mugs").rows() if row.row_id == "mug-0"]
    CatalogVerdicts(store, "mugs").record([new_verdict(row.recipe_digest, "mug-0", "ann", star=True)])
    look(store, FLAGGED)
    look(store, FLAGGED)
    assert [(one.row, one.state) for one in CatalogVerdicts(store, "mugs").all()] == [
        ("mug-0", None),
        ("mug-0", State.APPROVED),
        ("mug-1", State.REJECTED),
    ]


def test_a_picture_that_a_moderator_nearly_rejected_waits_for_a_person(store):
    rows = list(read_image_set(store, "watermarked_images", "mugs").rows())
    nearly = [replace(rows[0], verdict='{"scores": {"RED": 0.4}, "margin": 0.2}'), *rows[1:]]
    store.put(manifest_key("watermarked_images", "mugs"), encode_manifest(nearly), content_type="application/parquet")

    scores = look(store, FLAGGED, remake_below={})

    assert scores[rows[0].recipe_digest]["moderation"] == 0.2
    assert "mug-0" not in said(store)

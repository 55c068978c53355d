"""What the first look at a catalog's pictures leads to."""

import io

import pytest
from PIL import Image

from configs.lifecycle_settings import CheckSettings
from io_managers.image_set import read_image_set
from ops.catalog import ReviewPolicy
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

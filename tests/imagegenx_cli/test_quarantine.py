import json

import pytest
from PIL import Image

from configs.settings import load_settings
from ops.moderation import PictureRejectedError, open_moderation
from resources.local_store import LocalObjectStore
from resources.object_store import StoreUnavailableError
from resources.open_store import open_store
from tests.support.recipes import a_recipe

KEY = "pictures/aa/a.png"
RED = Image.new("RGB", (64, 48), "red")


@pytest.fixture
def judge(home, monkeypatch):
    """A moderator that has rejected a picture."""
    monkeypatch.setenv("IMAGEGENX_CHECKS__MODERATION", "tests.support.own_detector:Colours")
    monkeypatch.setenv("IMAGEGENX_CHECKS__REJECT_ABOVE", '{"RED": 0.5}')
    settings = load_settings()
    judge = open_moderation(settings.checks, open_store(settings.store))
    with pytest.raises(PictureRejectedError):
        judge.review(KEY, RED, a_recipe())
    return judge


def test_a_person_sees_what_is_rejected_and_releases_it_on_record(imagegenx, judge):
    status, shown, _ = imagegenx("quarantine", "list")
    (listed,) = json.loads(imagegenx("quarantine", "list", "--json")[1])
    assert (status, shown.splitlines()[1].split()[0]) == (0, f"quarantine/{KEY}")
    assert (listed["key"], listed["scores"], listed["reasons"]) == (KEY, {"RED": 1.0}, ["RED 1.00, above 0.50"])

    released = imagegenx("quarantine", "release", f"quarantine/{KEY}", "--why", "it is a mug")

    assert released[:2] == (0, f"released {KEY}. Materialize its catalog again, or ask for it again with seed 7.\n")
    assert imagegenx("quarantine", "list")[1] == "no picture is in quarantine.\n"
    (event,) = json.loads(imagegenx("audit", "--event", "picture.released", "--json")[1])
    assert (event["key"], event["why"], event["rejected_by"]) == (KEY, "it is a mug", judge.stamp)
    assert judge.review(KEY, RED, a_recipe()).by == judge.stamp


def test_a_release_that_a_store_breaks_off_is_on_record(imagegenx, judge, monkeypatch):
    def fails(self, key):
        raise StoreUnavailableError("no answer in time.")

    monkeypatch.setattr(LocalObjectStore, "delete", fails)
    assert imagegenx("quarantine", "release", KEY, "--why", "it is a mug")[0] == 1
    assert judge.review(KEY, RED, a_recipe()), "it holds already"
    (event,) = json.loads(imagegenx("audit", "--event", "picture.released", "--json")[1])
    assert (event["key"], event["why"]) == (KEY, "it is a mug")


def test_what_is_not_in_quarantine_is_not_released(imagegenx, home):
    status, output, error = imagegenx("quarantine", "release", "pictures/b.png", "--why", "so")

    assert (status, output) == (1, "")
    assert error.startswith("error: 'pictures/b.png': not in quarantine")

import json

import pytest
from PIL import Image

from configs.lifecycle_settings import CheckSettings
from models.encoding import read_recipe
from ops.moderation import Moderation, ModerationError, PictureRejectedError, Verdict, open_moderation
from resources.local_store import LocalObjectStore
from tests.support.recipes import a_recipe, some_pixels

KEY = "pictures/aa/a.png"
BLOCK_GUNS = CheckSettings(moderation="blocklist", blocked_words=("gun", "枪"))


class NoRed:
    """A moderator of somebody's own: refuses pictures that are red."""

    version = "1"

    def __init__(self, settings: CheckSettings) -> None:
        self.settings = settings

    def judge(self, picture, recipe):
        red = picture.resize((1, 1)).getpixel((0, 0))[0]
        return Verdict(red < 200, ("it is red",) if red >= 200 else ())


class Broken(NoRed):
    def judge(self, picture, recipe):
        raise RuntimeError("out of memory")


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


def test_moderation_is_off_by_default(store):
    assert open_moderation(CheckSettings(), store) is None


def test_a_blocklist_without_words_is_refused():
    with pytest.raises(ValueError, match="moderation blocklist also needs blocked_words"):
        CheckSettings(moderation="blocklist", blocked_words=(" ",))


def test_a_rejected_picture_is_in_quarantine_with_its_reason_and_nowhere_else(store):
    store.put(KEY, b"published before", content_type="image/png")
    recipe = a_recipe(text="a gun")

    with pytest.raises(PictureRejectedError) as caught:
        open_moderation(BLOCK_GUNS, store).review(KEY, some_pixels(1), recipe)

    assert str(caught.value) == (
        "rejected by moderator 'blocklist': the prompt has the blocked word 'gun'. "
        "The picture is kept at quarantine/pictures/aa/a.png."
    )
    assert {found.key for found in store.list()} == {f"quarantine/{KEY}", f"quarantine/{KEY}.json"}
    assert read_recipe(store.get(f"quarantine/{KEY}")) == recipe
    verdict = json.loads(store.get(f"quarantine/{KEY}.json"))
    assert verdict["reasons"] == ["the prompt has the blocked word 'gun'"]


def test_an_allowed_picture_leaves_no_trace(store):
    open_moderation(BLOCK_GUNS, store).review(KEY, some_pixels(1), a_recipe(text="a mug"))

    assert list(store.list()) == []


def test_a_rejection_is_known_until_the_moderator_changes(store):
    moderation = open_moderation(BLOCK_GUNS, store)
    with pytest.raises(PictureRejectedError) as caught:
        moderation.review(KEY, some_pixels(1), a_recipe(text="a gun"))

    assert moderation.known_rejection(KEY) == str(caught.value)
    assert moderation.known_rejection("pictures/bb/b.png") == ""
    other = open_moderation(CheckSettings(moderation="blocklist", blocked_words=("knife",)), store)
    assert other.known_rejection(KEY) == ""


def test_a_moderator_of_ones_own_is_named_by_module_and_class(store):
    settings = CheckSettings(moderation=f"{__name__}:NoRed")
    moderation = Moderation(NoRed(settings), settings.moderation, store)

    with pytest.raises(PictureRejectedError, match="it is red"):
        moderation.review(KEY, Image.new("RGB", (8, 8), "red"), a_recipe())
    moderation.review(KEY, Image.new("RGB", (8, 8), "blue"), a_recipe())


def test_a_class_is_imported_by_its_name(store):
    moderation = open_moderation(CheckSettings(moderation="tests.support.own_moderator:Refusing"), store)

    with pytest.raises(PictureRejectedError, match="no reason given"):
        moderation.review(KEY, some_pixels(1), a_recipe())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("strict", "checks.moderation 'strict': not one of blocklist, nudenet, nor written as module:Class"),
        ("no_such_module:Strict", "checks.moderation 'no_such_module:Strict': No module named 'no_such_module'"),
        ("json:Strict", "checks.moderation 'json:Strict': module 'json' has no attribute 'Strict'"),
    ],
)
def test_an_unknown_moderator_is_a_clear_error(store, name, reason):
    with pytest.raises(ModerationError) as caught:
        open_moderation(CheckSettings(moderation=name), store)

    assert reason in str(caught.value)


def test_a_moderator_that_fails_lets_no_picture_through(store):
    moderation = Moderation(Broken(CheckSettings()), "broken", store)

    with pytest.raises(ModerationError, match="moderator 'broken' could not judge the picture: out of memory"):
        moderation.review(KEY, some_pixels(1), a_recipe())

    assert list(store.list()) == []

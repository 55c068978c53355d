"""Moderators that look at pictures: detectors in processes of their own, and what follows from their scores."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from configs.lifecycle_settings import CheckSettings
from models import nudenet
from models.decoding import pool
from models.detector import detect
from models.nudenet import NudeNet
from ops.moderation import UNJUDGED, Allowed, ModerationError, PictureRejectedError, open_moderation
from ops.quarantine import NotInQuarantineError, Quarantine
from resources.local_store import LocalObjectStore
from tests.support.recipes import a_recipe
from training.renderer import Scene, render

KEY = "pictures/aa/a.png"
RED, GREEN, BLUE = (Image.new("RGB", (64, 48), colour) for colour in ("#C00000", "#00C000", "#0000C0"))


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "store")


def moderation(store, detector="Colours", **settings):
    checks = {"reject_above": {"RED": 0.5}, **settings}
    return open_moderation(CheckSettings(moderation=f"tests.support.own_detector:{detector}", **checks), store)


def test_what_a_detector_is_too_sure_of_goes_to_quarantine_with_its_scores(store):
    with pytest.raises(PictureRejectedError, match=r"RED 0\.75, above 0\.50\. The picture is kept at quarantine/"):
        moderation(store).review(KEY, RED, a_recipe())

    (found,) = Quarantine(store).all()
    assert (found.key, found.reasons, found.scores) == (KEY, ("RED 0.75, above 0.50",), {"RED": 0.753})
    assert store.stat(KEY) is None


def test_an_allowed_picture_has_its_scores_and_how_near_they_come(store):
    strict = moderation(store, reject_above={"RED": 0.5, "BLUE": 0.8})

    allowed = strict.review(KEY, Image.new("RGB", (8, 8), "#400080"), a_recipe())

    assert allowed.by == strict.stamp
    assert json.loads(allowed.verdict) == {"scores": {"RED": 0.251, "BLUE": 0.502}, "margin": 0.373}
    assert list(store.list()) == []


def test_other_limits_are_another_version(store):
    assert moderation(store).stamp != moderation(store, reject_above={"RED": 0.6}).stamp
    assert moderation(store).stamp == moderation(store).stamp


def test_a_limit_for_what_a_detector_does_not_know_is_refused(store):
    with pytest.raises(ModerationError, match=r"reject_above: .*:Colours has no class HATS; it has RED, BLUE\."):
        moderation(store, reject_above={"HATS": 0.5})
    with pytest.raises(ValueError, match=r"RED 1\.5: a limit is above 0 and at most 1"):
        CheckSettings(reject_above={"RED": 1.5})


FAULTS = {
    "Dying": "the process that looks at pictures crashed",
    "Endless": "took more time",
    "Failing": "out of words",
    "Unmade": "weights.onnx is no network",
    "Silent": "RED",
    "Unsure": "the score of RED is nan",
}


@pytest.mark.parametrize("detector", FAULTS)
def test_a_detector_that_fails_lets_no_picture_through_unless_it_is_to(store, detector, monkeypatch):
    if detector == "Endless":
        monkeypatch.setitem(pool.MAX_CPU_S, "detect", 1.0)

    with pytest.raises(ModerationError, match=rf"could not judge the picture: .*{FAULTS[detector]}"):
        moderation(store, detector).review(KEY, BLUE, a_recipe())
    lenient = moderation(store, detector, moderation_fails="open")
    assert lenient.review(KEY, BLUE, a_recipe()) == Allowed(lenient.stamp + UNJUDGED)

    assert list(store.list()) == []


def test_after_a_crash_the_next_picture_is_judged_as_ever(store):
    judge = moderation(store, "Dying")
    with pytest.raises(ModerationError):
        judge.review(KEY, BLUE, a_recipe())

    assert json.loads(judge.review(KEY, GREEN, a_recipe()).verdict)["margin"] == 1.0


def test_a_detector_that_lacks_something_is_refused_at_the_start_even_if_failures_are_let_through(store):
    with pytest.raises(ModerationError, match=r"checks\.moderation '.*:Missing': needs the package colours\."):
        moderation(store, "Missing", moderation_fails="open")


def test_without_its_package_nudenet_says_how_to_get_it(store, monkeypatch):
    monkeypatch.setattr(nudenet, "find_spec", lambda name: None)

    with pytest.raises(ModerationError) as caught:
        open_moderation(CheckSettings(moderation="nudenet"), store)

    assert str(caught.value) == (
        "checks.moderation 'nudenet': needs the packages nudenet (AGPL-3.0) and onnxruntime: "
        "pip install 'imagegenx[nudenet]'."
    )


def test_a_person_releases_a_picture_for_good_and_no_other(store):
    judge, quarantine = moderation(store), Quarantine(store)
    for text in ("a mug", "a lamp"):
        with pytest.raises(PictureRejectedError):
            judge.review(f"pictures/{text}.png", RED, a_recipe(text=text))

    quarantine.release(quarantine.get("pictures/a mug.png"), "ann", "a red mug, no more")

    assert [found.key for found in quarantine.all()] == ["pictures/a lamp.png"]
    assert judge.known_rejection("pictures/a mug.png") == ""
    stricter = moderation(store, reject_above={"RED": 0.1})
    for one in (judge, stricter):
        allowed = one.review("20261130/other_64x48.png", RED, a_recipe(text="a mug"))
        assert (allowed.by, json.loads(allowed.verdict)["released_by"]) == (one.stamp, "ann")
    with pytest.raises(PictureRejectedError):
        judge.review("pictures/a lamp.png", RED, a_recipe(text="a lamp"))
    with pytest.raises(NotInQuarantineError, match=r"'pictures/a mug\.png': not in quarantine"):
        quarantine.get("pictures/a mug.png")


@pytest.fixture(scope="module")
def drawings():
    """Pictures of things, which show nobody; NudeNet must be here."""
    pytest.importorskip("nudenet")
    pytest.importorskip("onnxruntime")
    scenes = [Scene("mug", "red", "white", seed=1), Scene("lamp", "teal", "pink", seed=2)]
    return [Image.fromarray(render(scene).rgb).resize((256, 192)) for scene in scenes]


def seen_by_nudenet(picture):
    about = {"detector": "models.nudenet:NudeNet", "size": picture.size}
    return detect(json.dumps(about), picture.tobytes())


def test_nudenet_sees_nothing_in_drawings_and_always_the_same(drawings, store):
    judge = open_moderation(CheckSettings(moderation="nudenet"), store)

    verdicts = [json.loads(judge.review(KEY, drawing, a_recipe()).verdict) for drawing in drawings]

    assert all(verdict["margin"] > 0.5 for verdict in verdicts)
    assert [seen_by_nudenet(drawing) for drawing in drawings] == [seen_by_nudenet(drawing) for drawing in drawings]


def test_the_scores_of_nudenet_are_stable(drawings):
    for drawing in drawings:
        before = seen_by_nudenet(drawing)
        file = io.BytesIO()
        drawing.save(file, "JPEG", quality=85)
        for other in (Image.open(file), drawing.resize((384, 288))):
            after = seen_by_nudenet(other.convert("RGB"))
            assert max(abs(after[name] - before[name]) for name in NudeNet.classes) < 0.1


def test_nudenet_says_what_its_package_says(drawings):
    package = pytest.importorskip("nudenet").NudeDetector()
    noise = np.random.default_rng(1).integers(0, 256, (5, 320, 320, 3)).astype(np.uint8)
    squares = [np.asarray(drawing.resize((320, 320))) for drawing in drawings]

    for pixels in [*noise, *squares]:
        ours = seen_by_nudenet(Image.fromarray(pixels))
        theirs = {one["class"]: one["score"] for one in reversed(package.detect(pixels[..., ::-1].copy()))}
        assert all(abs(ours[name] - score) < 0.01 for name, score in theirs.items())
        assert all(ours[name] < 0.3 for name in NudeNet.classes if name not in theirs)


def test_the_limits_decide_what_nudenet_lets_through(drawings, store):
    seen = seen_by_nudenet(drawings[0])
    name = max(seen, key=seen.get)
    limits = {"under": {name: max(seen[name] / 2, 1e-6)}, "over": {name: min(seen[name] * 2 + 0.01, 1)}}
    under, over = (
        open_moderation(CheckSettings(moderation="nudenet", reject_above=limits[which]), store)
        for which in ("under", "over")
    )

    assert over.review(KEY, drawings[0], a_recipe()).by == over.stamp
    with pytest.raises(PictureRejectedError, match=f"{name} "):
        under.review(KEY, drawings[0], a_recipe())

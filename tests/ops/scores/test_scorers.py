"""Scorers, on drawings of the products that the built-in model paints: good ones, and ones with a fault."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from configs.lifecycle_settings import CheckSettings
from ops.scores.colour_words import asked_colours
from ops.scores.scorers import UnknownScorerError, open_scorers
from ops.scores.seen import Seen
from training.renderer import Scene, render

SCENES = [
    Scene("mug", "yellow", "light blue", seed=1),
    Scene("t-shirt", "white", "pink", seed=2),
    Scene("handbag", "brown", "beige", seed=3),
    Scene("lamp", "black", "white", seed=4),
    Scene("dress", "teal", "grey", seed=5),
]
LIMITS = CheckSettings().review_below


def doubts(image, text):
    """The scorers that doubt a picture."""
    seen = Seen.of(image, text)
    scores = {name: scorer(seen) for name, scorer in open_scorers(CheckSettings()).items()}
    return {name for name, score in scores.items() if score is not None and score < LIMITS[name]}


def text_of(scene):
    return f"a {scene.colour} {scene.product} on a {scene.background} background"


def drawn(scene):
    return Image.fromarray(render(scene).rgb)


@pytest.mark.parametrize("scene", SCENES, ids=text_of)
def test_good_pictures_are_doubted_by_nobody_and_each_fault_by_its_scorer(scene):
    image, text = drawn(scene), text_of(scene)
    assert doubts(image, text) == set()
    assert doubts(drawn(replace(scene, width_px=384, height_px=256)), text) == set()
    assert "contrast" in doubts(Image.new("RGB", (128, 128), image.getpixel((0, 0))), text)
    assert "sharpness" in doubts(image.filter(ImageFilter.GaussianBlur(3)), text)
    pixels = np.asarray(image)
    columns = np.flatnonzero(np.abs(pixels.astype(int) - pixels[0, 0]).max(axis=2).max(axis=0) > 40)
    cut = Image.fromarray(pixels[:, : (columns[0] + columns[-1]) // 2])
    assert "cut_off" in doubts(cut, text)
    for other in {"white", "mint", "beige"} - {scene.background}:
        assert "background" in doubts(image, text.replace(f"{scene.background} background", f"{other} background"))
    assert "colour" in doubts(image, text.replace(scene.colour, "purple"))


@pytest.mark.parametrize(
    ("text", "background", "others"),
    [
        ("a yellow mug on a light blue background", "light blue", ("yellow",)),
        ("白色背景上的红色T恤", "white", ("red",)),
        ("T恤,红色,背景是米色", "beige", ("red",)),
        ("a red car on a white road", "", ("red", "white")),
        ("Black shoes on white", "white", ("black",)),
        ("the wall is grey, an orange lamp", "grey", ("orange",)),
        ("a portrait of a reader", "", ()),
        ("a photo of a greenhouse", "", ()),
    ],
)
def test_prompts_tell_background_and_colours_or_nothing(text, background, others):
    assert asked_colours(text) == (background, others)


def test_a_picture_without_a_plain_background_is_scored_for_what_can_be_told_alone():
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (128, 128, 3), dtype=np.uint8))
    seen = Seen.of(noise, "a street at night")
    scores = {name: scorer(seen) for name, scorer in open_scorers(CheckSettings()).items()}
    assert {name for name, score in scores.items() if score is None} == {"background", "colour", "cut_off", "adherence"}


def always_half(seen):
    return 0.5


def test_scorers_of_ones_own_are_named_by_module_and_unknown_ones_refused(tmp_path):
    (name, scorer) = next(iter(open_scorers(CheckSettings(scorers=[f"{__name__}:always_half"])).items()))
    assert (name, scorer(None)) == ("always_half", 0.5)
    with pytest.raises(UnknownScorerError, match="'sharpnes' is not one of.*module:function"):
        open_scorers(CheckSettings(scorers=["sharpnes"]))
    with pytest.raises(UnknownScorerError, match="cannot be used"):
        open_scorers(CheckSettings(scorers=["nowhere:score"]))
    with pytest.raises(UnknownScorerError, match="scorer_models.clip: .*no config.json; name the folder"):
        open_scorers(CheckSettings(scorer_models={"clip": tmp_path}))
    with pytest.raises(ValueError, match="two scorers are called 'contrast'"):
        CheckSettings(scorers=["contrast", "my.module:contrast"])


@pytest.mark.parametrize("scene", SCENES, ids=text_of)
def test_another_product_than_the_prompt_names_is_doubted_for_the_built_in_model_alone(scene):
    adherence = open_scorers(CheckSettings())["adherence"]
    picture = drawn(scene)
    assert adherence(Seen.of(picture, text_of(scene), model="tiny")) > 0.5
    assert adherence(Seen.of(picture, "一把红色雨伞", model="tiny")) < 0.1
    assert adherence(Seen.of(picture, "something red", model="tiny")) is None
    assert adherence(Seen.of(picture, "a red umbrella", model="sdxl")) is None

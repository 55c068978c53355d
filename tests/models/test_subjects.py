import pytest

from configs.settings import Settings
from models.registry import open_registry
from models.subjects import subject_hint
from training.vocabulary import PRODUCT_WORDS


@pytest.fixture(scope="module")
def registry():
    return open_registry(Settings())


def hint(registry, text, **fields):
    return subject_hint({"text": text, "model_type": "tiny", **fields}, registry)


def test_the_card_knows_every_name_that_the_model_was_trained_with(registry):
    subjects = registry.card("tiny").subjects
    words = [word for names in PRODUCT_WORDS.values() for of_language in names.values() for word in of_language]

    assert list(subjects) == list(PRODUCT_WORDS)
    assert [word for word in words if hint(registry, f"photo of {word}!")] == []


@pytest.mark.parametrize(
    "text", ["two RED Mugs", "wristwatches", "a t shirt", "tea-pot\n", "一只红色马克杯", "cat的t恤"]
)
def test_names_count_in_any_case_and_number(registry, text):
    assert hint(registry, text) is None


@pytest.mark.parametrize("text", ["a cat", "a cupboard", "that is all", "!?", "un château"])
def test_who_asks_for_something_else_is_told_what_there_is(registry, text):
    assert hint(registry, text) == (
        "Model 'tiny' paints nothing but: t-shirt, dress, jeans, sneaker, backpack, handbag, mug, bottle, chair, "
        "lamp, hat, watch, umbrella, teapot. "
        "The prompt names none of these, so the picture will most likely show one of them."
    )


def test_who_asks_in_chinese_is_told_in_chinese(registry):
    assert hint(registry, "一只猫 cat") == (
        "模型“tiny”只会画：T恤、连衣裙、牛仔裤、运动鞋、双肩包、手提包、马克杯、水瓶、椅子、台灯、帽子、手表、雨伞、茶壶。"
        "提示词里没有这些，画面多半会是其中之一。"
    )


def test_pictures_speak_for_themselves_and_models_that_are_gone_say_nothing(registry):
    assert hint(registry, "make it warmer", image_url="https://example.org/mug.png") is None
    assert hint(registry, "a cat", model_type="gone") is None

import random
import re

from training.scenes import words
from training.scenes.captions import HELD_OUT_COUNT, Shown, held_out_asks, training_caption
from training.scenes.palette import BACKDROPS, COLOURLESS, COLOURS, OWN_COLOUR
from training.scenes.products import MODELS


def random_shown(rng: random.Random) -> Shown:
    product = rng.choice(list(MODELS))
    colour = OWN_COLOUR if product in COLOURLESS else rng.choice(list(COLOURS))
    return Shown(product, colour, rng.choice(BACKDROPS), rng.random() < 0.8, rng.random() < 0.1)


def test_every_product_colour_and_backdrop_has_words_in_both_languages():
    assert set(words.PRODUCTS) == set(MODELS)
    assert set(words.COLOURS) == set(COLOURS)
    assert {*words.COLOURS, *words.PALE, *words.SURROUNDINGS} == set(BACKDROPS)
    for table in (words.PRODUCTS, words.COLOURS, words.PALE, words.SURROUNDINGS):
        assert all(entry["en"] and entry["zh"] for entry in table.values())


def test_only_a_white_backdrop_is_left_unsaid():
    rng = random.Random(1)
    named = {*words.LIFESTYLE["en"], *words.LIFESTYLE["zh"]}
    for _ in range(4000):
        shown = random_shown(rng)
        if shown.backdrop == "white":
            continue
        table = {**words.COLOURS, **words.PALE, **words.SURROUNDINGS}[shown.backdrop]
        text = training_caption(shown, rng).lower().replace("，", ",")
        assert any(word.lower() in text for word in (*table["en"], *table["zh"], *named)), text


def test_the_held_out_prompts_are_six_hundred_a_language_and_cover_everything():
    for language in ("en", "zh"):
        asks = held_out_asks(language)
        assert len({ask.text for ask in asks}) == len(asks) == HELD_OUT_COUNT
        assert {ask.shown.product for ask in asks} == set(MODELS)
        assert {ask.shown.colour for ask in asks} == {*COLOURS, OWN_COLOUR}


def test_training_never_sees_a_held_out_prompt_or_phrasing():
    rng = random.Random(2)
    held_out = {ask.text for language in ("en", "zh") for ask in held_out_asks(language)}
    captions = {training_caption(random_shown(rng), rng) for _ in range(5000)}
    assert not captions & held_out
    noises = {*words.HELD_OUT_NOISE["en"], *words.HELD_OUT_NOISE["zh"]}
    assert not noises & {*words.NOISE["en"], *words.NOISE["zh"]}


def test_captions_speak_as_shops_do():
    rng = random.Random(3)
    text = " ".join(training_caption(random_shown(rng), rng) for _ in range(6000))
    chinese = ("白底图", "主图", "纯棉材质", "高清细节", "无阴影", "棚拍", "平铺")
    for phrase in (*chinese, "packshot", "isolated", "lifestyle", "close-up"):
        assert re.search(phrase, text), phrase

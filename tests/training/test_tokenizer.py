import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from training.captions import held_out_caption, plain_caption, training_caption
from training.renderer import BACKGROUNDS, COLOURS, PRODUCTS
from training.tokenizer import MODEL_MAX_LENGTH, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def test_writing_twice_gives_the_same_files(tmp_path: Path):
    write_tokenizer(tmp_path / "one")
    write_tokenizer(tmp_path / "two")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_every_caption_fits(tokenizer: CLIPTokenizer):
    rng = random.Random(1)
    for product in PRODUCTS:
        for colour in COLOURS:
            for background in BACKGROUNDS:
                caption = training_caption(product, colour, background, rng)
                assert len(tokenizer(caption).input_ids) <= MODEL_MAX_LENGTH


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_for_things_are_few_tokens_wherever_they_stand(tokenizer: CLIPTokenizer, language):
    for product in PRODUCTS:
        caption = plain_caption(product, "purple", "mint", language)
        assert len(tokenizer(caption).input_ids) <= 12, caption


@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_becomes_known_tokens(tokenizer: CLIPTokenizer, text: str):
    assert all(0 <= token < len(tokenizer) for token in tokenizer(text).input_ids)


def test_held_out_phrasings_name_the_things():
    rng = random.Random(2)
    for _ in range(50):
        text = held_out_caption("mug", "teal", "beige", "zh", rng)
        assert "杯" in text

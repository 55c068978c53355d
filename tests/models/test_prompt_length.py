"""Prompts that a model's text encoder cannot take, told before anybody waits for them."""

import pytest
from transformers import CLIPTokenizer

from models.admission import parse_request
from models.errors import InvalidRequestError
from models.prompt_length import _count, _tokenizer, _tokens, length_rule
from models.registry import BUILTIN_CARDS, ModelRegistry

REGISTRY = ModelRegistry.load([BUILTIN_CARDS], "tiny")
CARD = REGISTRY.card("tiny")
TEXTS = ["a Red  mug’s lid, 2×3!! don't", "白色背景上的红色T恤 é\u0301", "x" * 700, "🙂 ok <|endoftext|> a-b_c"]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_counted_as_the_model_itself_does(text):
    folder = CARD.path / "tokenizer"
    known = CLIPTokenizer.from_pretrained(folder)
    assert len(_tokenizer(folder).encode(text, add_special_tokens=False).ids) == len(
        known(text, add_special_tokens=False, verbose=False).input_ids
    )


def test_a_prompt_of_more_than_600_tokens_is_refused_at_submission_with_their_number():
    with pytest.raises(InvalidRequestError, match="1,600 tokens are above the maximum of 600 of model 'tiny'"):
        parse_request({"text": "red mug on white " * 400, "model_type": "tiny"}, REGISTRY)
    with pytest.raises(InvalidRequestError, match="params.negative_text: 601 tokens"):
        parse_request({"text": "a", "params": {"negative_text": "red " * 601}, "model_type": "tiny"}, REGISTRY)
    assert parse_request({"text": "red " * 600, "model_type": "tiny"}, REGISTRY).text


@pytest.mark.parametrize("text", ["red mug. " * 200, "photo" * 400, "a red, mug’s " * 100 + "長" * 200])
def test_a_text_counts_the_same_in_pieces(text):
    tokenizer = _tokenizer(CARD.path / "tokenizer")
    assert 200 < _count(tokenizer, text) == _tokens(tokenizer, text)


def test_no_more_is_counted_than_tells_that_a_prompt_is_too_long():
    assert length_rule(CARD, "長" * 10_000).startswith("over 2,400 tokens are above the maximum of 600")


@pytest.mark.parametrize("text", ["\ud800" + "red " * 200, "x" * 10_001])
def test_what_is_no_text_is_told_by_its_own_rule(text):
    with pytest.raises(InvalidRequestError, match=r"not valid Unicode|10,001 characters are above the maximum"):
        parse_request({"text": text, "model_type": "tiny"}, REGISTRY)


def test_a_model_whose_tokenizer_is_not_here_is_not_judged(tmp_path):
    elsewhere = CARD.model_copy(update={"source": "nowhere", "folder": tmp_path})
    assert length_rule(elsewhere, "red " * 1000) == ""

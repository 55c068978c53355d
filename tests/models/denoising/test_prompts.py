import random
from typing import Any

import pytest
import torch

from models.denoising import prompts
from models.denoising.prompts import PromptEncoder
from models.denoising.windows import _fewest_tokens
from models.errors import ModelError


@torch.no_grad()
def test_texts_are_remembered_up_to_a_number_of_bytes(workbench, monkeypatch):
    one_bytes = PromptEncoder(workbench.pipelines["small"]).encode("a", None).size_bytes
    monkeypatch.setattr(prompts, "REMEMBERED_BYTES", 6 * one_bytes)
    encoder, encoded = PromptEncoder(workbench.pipelines["small"]), []
    compute = encoder._encoded
    monkeypatch.setattr(encoder, "_encoded", lambda text, chunks: (encoded.append(text), compute(text, chunks))[1])

    def encode(*texts, chunks=1) -> list[str]:
        encoded.clear()
        for text in texts:
            encoder.encode(text, None, chunks)
        return list(encoded)

    assert encode("a", "b", "c") == ["a", "b", "c"]
    assert encode("a", "b", "c") == []
    long = "x" * 75 * 4
    assert encode(long) == [long]
    # With it there is room for two of the others: the oldest has gone.
    assert encode("c", "b") == []
    assert encode("a") == ["a"]
    assert sum(one.size_bytes for one in encoder._texts._known.values()) <= 6 * one_bytes
    assert encode("b", "c", "a") == []


def test_a_prompt_that_cannot_fit_is_refused_before_it_is_cut_into_tokens(workbench, monkeypatch):
    encoder = PromptEncoder(workbench.pipelines["small"])
    cut: list[str] = []

    class CLIPTokenizerThatCounts(type(workbench.pipelines["small"].tokenizer)):  # type: ignore[misc]
        def __call__(self, text: str, **options: Any) -> Any:
            cut.append(text)
            return super().__call__(text, **options)

    monkeypatch.setattr(workbench.pipelines["small"].tokenizer, "__class__", CLIPTokenizerThatCounts)
    for negative in ("", "長" * 10_000):
        with pytest.raises(ModelError, match=r"the prompt has at least \d+ tokens; the maximum is 600. Shorten it."):
            encoder.encode_pair("長" * 10_000 if not negative else "a mug", negative, None)
    assert cut == ["a mug"]


def test_no_text_has_fewer_tokens_than_it_is_said_to_have_at_least(workbench):
    tokenizer = workbench.pipelines["small"].tokenizer
    drawn = random.Random(7)
    parts = (
        "a",
        " ",
        "   ",
        "長",
        "é",
        "e\u0301",
        "\u1100\u1161\u11a8",
        "🎉",
        "ẞ",
        "K",
        "Ⱥ",
        "advertisement",
        "商品摄影",
        "\n",
    )
    for _ in range(300):
        text = "".join(drawn.choices(parts, k=100))
        assert _fewest_tokens(tokenizer, text) <= len(tokenizer(text, add_special_tokens=False).input_ids)

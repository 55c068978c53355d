"""Prompts in A1111's syntax as states: against numbers made by hand of its rules, and against diffusers."""

import copy
from itertools import chain

import pytest
import torch

from models.denoising.prompts import PromptEncoder
from models.denoising.windows import WindowCutter
from models.embedding_file import read_embedding
from models.errors import ModelError, ModelLoadError

torch.manual_seed(4)
INK = torch.randn(3, 32)


@pytest.fixture
def pipeline(workbench):
    return workbench.pipelines["small"]


def ids(pipeline, text: str) -> list[int]:
    return pipeline.tokenizer(text, add_special_tokens=False).input_ids


@torch.no_grad()
def plain(pipeline, tokens: list[int]) -> torch.Tensor:
    """States (77, width) of one window."""
    end = pipeline.tokenizer.eos_token_id
    window = [pipeline.tokenizer.bos_token_id, *tokens, end]
    window += [pipeline.tokenizer.pad_token_id] * (77 - len(window))
    return pipeline.text_encoder(torch.tensor([window]))[0][0]


@torch.no_grad()
def encoded(pipeline, text: str, **options) -> torch.Tensor:
    return PromptEncoder(pipeline, "a1111", **options).encode(text, None).states[0]


def test_weights_multiply_states_and_the_mean_of_the_window_stays(pipeline):
    words = [ids(pipeline, word) for word in ("a", "red", "cat", "on ice")]
    states = plain(pipeline, list(chain(*words)))
    weights = torch.ones(77)
    start = 1 + len(words[0])
    weights[start : start + len(words[1])] = 1.5
    weights[start + len(words[1]) + len(words[2]) : start + sum(map(len, words[1:]))] = 1 / 1.1
    meant = states * weights[:, None]
    meant *= states.mean() / meant.mean()

    assert torch.allclose(encoded(pipeline, "a (red:1.5) cat [on ice]"), meant, atol=1e-5)
    assert not torch.allclose(meant, states, atol=1e-2)


def test_break_fills_the_window_up(pipeline):
    apart = torch.cat([plain(pipeline, ids(pipeline, text)) for text in ("a red cat", "on ice")])

    assert torch.allclose(encoded(pipeline, "a red cat BREAK on ice"), apart, atol=1e-5)
    assert torch.allclose(encoded(pipeline, "a red cat BREAK"), apart[:77], atol=1e-5)
    empty = plain(pipeline, [])
    assert torch.allclose(encoded(pipeline, "BREAK a red cat")[:77], empty, atol=1e-5)


@pytest.mark.parametrize(("before", "after", "first"), [(60, 30, 61), (50, 40, 75), (75, 10, 75), (74, 10, 75)])
def test_a_full_window_ends_after_a_comma_that_is_near(pipeline, before, after, first):
    cutter = WindowCutter(pipeline.tokenizer, "a1111", {})
    word = next(word for word in ("cat", "a") if len(ids(pipeline, word)) == 1)
    text = f"{' '.join([word] * before)}, {' '.join([word] * after)}"
    windows = cutter.windows(text)

    assert [len(window.tokens) for window in windows] == [first, before + 1 + after - first]
    assert list(chain(*(window.tokens for window in windows))) == ids(pipeline, text)
    plain_windows = WindowCutter(pipeline.tokenizer, "plain", {}).windows(text)
    assert len(plain_windows[0].tokens) == 75


def test_an_embedding_stands_where_diffusers_puts_it(pipeline):
    other = copy.deepcopy(pipeline)
    other.load_textual_inversion({"inkling": INK[:1]}, token="inkling")
    other.load_textual_inversion({"blots": INK}, token="blots")
    with torch.no_grad():
        meant = other.encode_prompt("a inkling cat, Blots".lower(), "cpu", 1, False)[0][0]

    found = encoded(pipeline, "a Inkling cat, blots", embeddings=[{"inkling": INK[:1], "blots": INK}])

    assert torch.allclose(found, meant, atol=1e-5)
    assert not torch.allclose(found, encoded(pipeline, "a inkling cat, blots"), atol=1e-3)


def test_a_pair_of_vectors_stands_in_both_encoders_of_xl(workbench):
    pipeline = workbench.pipelines["small_xl"]
    widths = [one.get_input_embeddings().embedding_dim for one in (pipeline.text_encoder, pipeline.text_encoder_2)]
    pair = [torch.randn(2, width, generator=torch.Generator().manual_seed(width)) for width in widths]
    other = copy.deepcopy(pipeline)
    for place, (vectors, suffix) in enumerate(zip(pair, ("", "_2"), strict=True)):
        parts = {
            "text_encoder": getattr(other, f"text_encoder{suffix}"),
            "tokenizer": getattr(other, f"tokenizer{suffix}"),
        }
        other.load_textual_inversion({"inkling": vectors}, token="inkling", **parts)
        assert place < 2
    with torch.no_grad():
        states, _, pooled, _ = other.encode_prompt("a inkling cat", device="cpu", do_classifier_free_guidance=False)
        found = PromptEncoder(pipeline, "a1111", [{"inkling": one} for one in pair]).encode("a inkling cat", None)

    assert torch.allclose(found.states, states, atol=1e-5)
    assert torch.allclose(found.pooled, pooled, atol=1e-5)


def test_an_embedding_is_not_torn_apart(pipeline):
    cutter = WindowCutter(pipeline.tokenizer, "a1111", {"inkling": INK})
    first, second = cutter.windows(" ".join(["a"] * 73) + " (inkling:1.2) a")

    assert (len(first.tokens), second.vectors[0][0], second.weights) == (73, 0, [1.2, 1.2, 1.2, 1.0])


@torch.no_grad()
def test_clip_skip_counts_as_a1111_does(pipeline):
    shorter = copy.deepcopy(pipeline)
    shorter.text_encoder.encoder.layers = shorter.text_encoder.encoder.layers[:-1]
    meant = plain(shorter, ids(pipeline, "a cat"))

    assert torch.allclose(PromptEncoder(pipeline, clip_skip=2).encode("a cat", None).states, meant, atol=1e-6)
    assert not torch.allclose(PromptEncoder(pipeline).encode("a cat", None).states, meant, atol=1e-3)


@torch.no_grad()
def test_plain_text_is_to_the_letter(pipeline):
    text = r"a (red:1.5) [cat] BREAK \(x\)"
    meant = pipeline.encode_prompt(text, "cpu", 1, False)[0]

    assert torch.allclose(PromptEncoder(pipeline).encode(text, None).states, meant, atol=1e-6)


def test_too_many_windows_are_refused(pipeline):
    with pytest.raises(ModelError, match="the prompt fills 9 windows; the maximum is 8"):
        encoded(pipeline, "BREAK".join([" a "] * 9))


@pytest.mark.parametrize("layout", ["emb_params", "diffusers", "string_to_param", "bin"])
def test_embeddings_are_read_in_every_layout(tmp_path, layout):
    from safetensors.torch import save_file

    file = tmp_path / f"ink.{'pt' if layout == 'string_to_param' else 'bin' if layout == 'bin' else 'safetensors'}"
    if layout == "string_to_param":
        data = {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": torch.nn.Parameter(INK)},
            "name": "ink",
            "step": 9,
        }
        torch.save(data, file)
    elif layout == "bin":
        torch.save({"<ink>": INK[0]}, file)
    else:
        save_file({"emb_params" if layout == "emb_params" else "<ink>": INK}, file)

    (vectors,) = read_embedding(file, (32,))

    assert torch.equal(vectors, INK[:1] if layout == "bin" else INK)


class Boom:
    def __reduce__(self):
        return (print, ("boom",))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({"emb_params": INK}, "is for text encoders of width 32; 32 and 64 is needed here"),
        ({"clip_l": INK, "clip_g": torch.zeros(2, 64)}, "1 to 75 vectors are needed, as many for each encoder"),
        ({"clip_l": torch.zeros(76, 32), "clip_g": torch.zeros(76, 64)}, "1 to 75 vectors are needed"),
        ({"clip_l": INK / 0, "clip_g": torch.zeros(3, 64)}, "holds numbers that are not finite"),
        ({"clip_l": INK, "clip_g": INK, "wings": INK}, "holds no single embedding"),
        ({"a": INK, "b": INK}, "holds no single embedding"),
        ([INK], "holds no single embedding"),
        ({"emb_params": Boom()}, "cannot be read: Weights only load failed"),
    ],
)
def test_what_is_no_embedding_of_the_model_is_refused(tmp_path, capsys, data, rule):
    torch.save(data, tmp_path / "ink.pt")
    with pytest.raises(ModelLoadError, match="^embedding ink.pt") as refused:
        read_embedding(tmp_path / "ink.pt", (32, 64))

    assert rule in str(refused.value)
    assert "boom" not in capsys.readouterr().out

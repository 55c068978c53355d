"""Prompts by A1111's rules: what its parser is documented to make of them, and what is refused."""

import time

import pytest

from models.prompt_syntax import Piece, PromptError, prompt_problem, read_loras, read_sections


def pieces(text: str) -> list[tuple[str, float]]:
    (section,) = read_sections(text)
    return [(piece.text, round(piece.weight, 4)) for piece in section]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1.0)]),
        ("an (important) word", [("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        ("[weak] (strong:1.5)", [("weak", 0.9091), (" ", 1.0), ("strong", 1.5)]),
        ("((twice)) [[half]]", [("twice", 1.21), (" ", 1.0), ("half", 0.8264)]),
        ("(a (b:1.5) c:1.2)", [("a ", 1.2), ("b", 1.8), (" c", 1.2)]),
        ("(a:1.2", [("a:1.2", 1.1)]),
        ("a) b] c:1.2)", [("a) b] c:1.2)", 1.0)]),
        ("(cat: 1.3 )", [("cat", 1.3)]),
        ("(cat:-0.5)", [("cat", -0.5)]),
        ("(cat:)", [("cat:", 1.1)]),
        ("((a):1.5)", [("a", 1.65)]),
        (r"a \\ b\c", [("a \\ bc", 1.0)]),
        ("[a:b]", [("a:b", 0.9091)]),
        ("", []),
        ("()", []),
        ("BREAKFAST and OUTBREAK", [("BREAKFAST and OUTBREAK", 1.0)]),
    ],
)
def test_weights(text, expected):
    assert pieces(text) == expected


def test_break_parts_sections_and_takes_the_blanks_around_it():
    assert read_sections("a cat  BREAK\n(dog:2) BREAK ") == [[Piece("a cat", 1.0)], [Piece("dog", 2.0)], []]


@pytest.mark.parametrize(
    ("text", "words", "loras"),
    [
        ("a <lora:ink:0.8> cat", "a  cat", [{"name": "ink", "weight": 0.8}]),
        ("<lora:ink>", "", [{"name": "ink", "weight": 1.0}]),
        ("<lyco:a:1:1> b<lora:c:te=0.5:unet=0.5>", "b", [{"name": "a", "weight": 1.0}, {"name": "c", "weight": 0.5}]),
        ("1 < 2 > 0 <3", "1 < 2 > 0 <3", []),
    ],
)
def test_loras_are_taken_out(text, words, loras):
    assert read_loras(text) == (words, loras)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("<hypernet:x:1>", "<hypernet:…> is not carried out here"),
        ("<lora:x:0.5:1>", "with one weight for UNet and text encoder"),
        ("<lora:x:dyn=3>", "must be <lora:name:weight>"),
        ("<lora::1>", "must be <lora:name:weight>"),
        ("<lora:x:nan>", "must be <lora:name:weight>"),
        ("<lora:x:>", "must be <lora:name:weight>"),
    ],
)
def test_networks_that_are_none_are_refused(text, rule):
    with pytest.raises(PromptError, match=rule.replace("(", r"\(")):
        read_loras(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a cat AND a dog", "AND joins prompts of several pictures"),
        ("[cat:dog:0.5]", "[cat:dog:0.5] would change the prompt while the picture is made"),
        ("[dog:10]", "would change the prompt"),
        ("[cat|dog]", "would change the prompt"),
        ("[a [b|c] d]", "[b|c] would change"),
        ("(cat:1.2.3)", "the weight '1.2.3' is no number"),
        ("(cat:1000)", "a weight of 1000 is above 100"),
        ("((((a:90):90)", "is above 100"),
        ("(a BREAK b:1.2)", "BREAK stands within brackets"),
        ("(" * 101, "more than 100 brackets are open at once"),
        ("<lora:x:1>", "a LoRA is named after it was to be taken out"),
    ],
)
def test_what_is_not_carried_out_is_refused(text, rule):
    assert rule in prompt_problem(text)


def test_what_only_looks_like_it_is_carried_out():
    assert prompt_problem(r"\[cat|dog\] a|b ANDROID and [a \| b]") == ""
    assert prompt_problem("a AND b", negative=True) == ""
    assert "the negative prompt names a LoRA" in prompt_problem("<lora:x:1>", negative=True)


def test_a_long_hostile_prompt_takes_no_time():
    for text in ("(a:" * 3000, "[" * 100 + "x" * 9000, "a|b" * 3000, ("(a:1" * 90 + ")" * 90) * 20, "\\" * 9999):
        prompt_problem(text)
        read_loras("<" * 5000 + text)


@pytest.mark.parametrize("shape", ["a{} b", "BREAK{}b", ":{}1", "[a:{}]"])
@pytest.mark.parametrize("filling", [" ", "\n\t", "BREAK ", "a ", ": ", ":1", "(a", "<lora:"])
def test_the_longest_prompt_is_read_in_no_time(shape, filling):
    text = shape.format(filling * (9_990 // len(filling)))
    began_s = time.process_time()
    prompt_problem(text)
    assert time.process_time() - began_s < 2

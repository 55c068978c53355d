"""What people write into prompts beside words, by the rules of AUTOMATIC1111's web UI: weights, BREAK and LoRAs.

Its rules: https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

PromptSyntax = Literal["plain", "a1111"]
STRONGER = 1.1
"""The weight that a pair of round brackets gives; square ones give its inverse."""
LARGEST_WEIGHT = 100.0
_MOST_BRACKETS = 100
"""Open at once."""

_BREAK = re.compile(r"\bBREAK\b")
_AND = re.compile(r"\bAND\b")
_NETWORK = re.compile(r"<(\w+):([^<>]*)>")
_MARK = re.compile(r"\\[\\()\[\]]?|[(\[\])]|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|[^\\()\[\]:]+|:")
_NO_WORD = re.compile(r"<\w+:[^<>]*>|:\s*[+-]?[.\d]+\s*(?=\))|\bBREAK\b")
_EDITED_TO = re.compile(r":\s*[+-]?[.\d]+\s*\Z")


class PromptError(ValueError):
    """A prompt asks for what is not carried out; the text says what, and what to do."""


@dataclass(frozen=True)
class Piece:
    """Words of one weight."""

    text: str
    weight: float


def read_loras(text: str) -> tuple[str, list[dict[str, object]]]:
    """The prompt without its `<lora:name:weight>`, and these as requests have them: name and weight.

    Raises:
        PromptError: for a network of another kind, or a weight that is none.
    """
    found = [_lora(match[1], match[2]) for match in _NETWORK.finditer(text)]
    return (_NETWORK.sub("", text).strip(), found) if found else (text, [])


def bare_words(text: str) -> str:
    """A prompt without its weights, LoRAs and BREAK: `g(u:1)n` has the word that `g(u)n` has."""
    return _NO_WORD.sub("", text)


def _lora(kind: str, said: str) -> dict[str, object]:
    if kind.lower() not in ("lora", "lyco"):
        raise PromptError(f"<{kind[:40]}:…> is not carried out here: only <lora:name:weight> is. Take it out")
    name, *weights = (word.strip() for word in said.split(":"))
    try:
        numbers = [float(weight.removeprefix("te=").removeprefix("unet=")) for weight in weights] or [1.0]
    except ValueError:
        numbers = []
    if not name or len({*numbers}) != 1 or not math.isfinite(numbers[0]):
        raise PromptError(f"<{kind}:{said[:80]}> must be <lora:name:weight>, with one weight for UNet and text encoder")
    return {"name": name, "weight": numbers[0]}


def prompt_problem(text: str, *, negative: bool = False) -> str:
    """Why a prompt cannot be carried out to the letter; "" if it can.

    Args:
        negative: it is a negative prompt, in which AND is a word.
    """
    try:
        if not negative and _AND.search(text):
            return "AND joins prompts of several pictures, which is not done here. Write it small, or use a comma"
        if match := _NETWORK.search(text):
            where = "the negative prompt names a LoRA" if negative else "a LoRA is named after it was to be taken out"
            return f"{where} ({match[0][:80]}). Name it in the prompt, or in `loras`"
        read_sections(text)
    except PromptError as exc:
        return str(exc)
    return ""


def read_sections(text: str) -> list[list[Piece]]:
    """The pieces of a prompt, neighbours of equal weight joined, in the sections that BREAK parts.

    `(word)` counts 1.1 times, `(word:1.3)` 1.3 times, `[word]` a 1.1th; brackets multiply, unclosed ones reach to the
    end, and a backslash makes a bracket a letter.

    Raises:
        PromptError: if the prompt changes with the steps (`[a:b:0.5]`, `[a|b]`), or a weight is none.
    """
    _refuse_edits(text)
    reader = _Reader()
    for mark in _MARK.finditer(text):
        reader.take(mark)
    return reader.sections()


class _Reader:
    """Pieces as they come, with a weight each, and where brackets were opened; None is a BREAK."""

    def __init__(self) -> None:
        self._pieces: list[tuple[str | None, float]] = []
        self._round: list[int] = []
        self._square: list[int] = []

    def take(self, mark: re.Match[str]) -> None:
        said = mark[0]
        if said[0] == "\\":
            self._add(said[1:])
        elif said in "([":
            self._open(self._round if said == "(" else self._square)
        elif mark["weight"] and self._round:
            self._multiply(self._round.pop(), _number(mark["weight"]))
        elif said == ")" and self._round:
            self._multiply(self._round.pop(), STRONGER)
        elif said == "]" and self._square:
            self._multiply(self._square.pop(), 1 / STRONGER)
        else:
            first, *others = _BREAK.split(said)
            for other in others:
                self._add(first.rstrip())
                self._pieces.append((None, 1.0))
                first = other.lstrip()
            self._add(first)

    def sections(self) -> list[list[Piece]]:
        for start in self._round:
            self._multiply(start, STRONGER)
        for start in self._square:
            self._multiply(start, 1 / STRONGER)
        sections: list[list[Piece]] = [[]]
        for text, weight in self._pieces:
            if text is None:
                sections.append([])
            elif sections[-1] and sections[-1][-1].weight == weight:
                sections[-1][-1] = Piece(sections[-1][-1].text + text, weight)
            else:
                sections[-1].append(Piece(text, weight))
        return sections

    def _open(self, brackets: list[int]) -> None:
        if len(self._round) + len(self._square) >= _MOST_BRACKETS:
            raise PromptError(f"more than {_MOST_BRACKETS} brackets are open at once. Close some")
        brackets.append(len(self._pieces))

    def _add(self, text: str) -> None:
        if text:
            self._pieces.append((text, 1.0))

    def _multiply(self, start: int, factor: float) -> None:
        for place, (text, weight) in enumerate(self._pieces[start:], start):
            if text is None:
                raise PromptError("BREAK stands within brackets. Close them before it and open them again after it")
            if abs(weight * factor) > LARGEST_WEIGHT:
                raise PromptError(f"a weight of {weight * factor:.4g} is above {LARGEST_WEIGHT:g}. Weigh it less")
            self._pieces[place] = (text, weight * factor)


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        raise PromptError(f"the weight {said[:40]!r} is no number") from None


def _refuse_edits(text: str) -> None:
    for inner in _groups(text):
        if "|" in inner or _EDITED_TO.search(inner):
            raise PromptError(
                f"[{inner[:60]}] would change the prompt while the picture is made, which is not done here. "
                "Weigh words by (word:1.2), or write \\[ for a bracket"
            )


def _groups(text: str) -> Iterator[str]:
    """What stands in each pair of square brackets itself, without the pairs in it and what is escaped."""
    opened: list[list[str]] = []
    for letters in re.findall(r"\\.|[\[\]]|[^\\\[\]]+", text, re.DOTALL):
        if letters == "[":
            opened.append([])
        elif letters == "]" and opened:
            yield "".join(opened.pop())
        elif opened and letters[0] != "\\":
            opened[-1].append(letters)

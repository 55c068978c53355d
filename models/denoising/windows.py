"""Prompts cut into windows, as much as a text encoder takes at once: its tokens, how much each counts, and vectors."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from models.errors import ModelError
from models.prompt_length import MAX_CHUNKS
from models.prompt_syntax import Piece, PromptError, PromptSyntax, read_sections

_COMMA_WITHIN = 20
"""A window that is full ends after a comma among its last so many tokens, as it does by default in A1111's."""


@dataclass
class Window:
    """What lies between the first and the last mark of a window; `vectors` take the places of tokens."""

    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    vectors: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    def add(self, tokens: Sequence[int], weight: float) -> None:
        """More tokens of one weight."""
        self.tokens += tokens
        self.weights += [weight] * len(tokens)

    def cut(self, place: int) -> "Window":
        """Take what comes after a place away, and return it."""
        rest = Window(self.tokens[place:], self.weights[place:])
        rest.vectors = [(at - place, vector) for at, vector in self.vectors if at >= place]
        self.vectors = [(at, vector) for at, vector in self.vectors if at < place]
        del self.tokens[place:], self.weights[place:]
        return rest


class WindowCutter:
    """Cuts prompts for one tokenizer.

    Args:
        syntax: `plain` takes every letter as it stands; see `models.prompt_syntax`.
        embeddings: learned vectors (n, width) by the name that stands for them in prompts of `a1111`.
    """

    def __init__(self, tokenizer: Any, syntax: PromptSyntax, embeddings: Mapping[str, torch.Tensor]) -> None:
        self._tokenizer = tokenizer
        self._syntax = syntax
        self._room = tokenizer.model_max_length - 2
        spelled = ((tuple(self._ids(name)), vectors) for name, vectors in embeddings.items())
        self._embeddings = sorted(spelled, key=lambda one: -len(one[0]))
        self._comma = next(iter(self._ids(",")[-1:]), None) if syntax == "a1111" else None

    def windows(self, text: str) -> list[Window]:
        """A prompt's windows, at least one; ModelError if there are too many."""
        windows = list(self._plain(text)) if self._syntax == "plain" else self._weighted(_sections(text))
        if len(windows) > MAX_CHUNKS:
            raise ModelError(f"the prompt fills {len(windows)} windows; the maximum is {MAX_CHUNKS}. Shorten it.")
        return windows

    def _plain(self, text: str) -> Iterator[Window]:
        ids = self._counted(text)
        for start in range(0, max(len(ids), 1), self._room):
            window = Window()
            window.add(ids[start : start + self._room], 1.0)
            yield window

    def _weighted(self, sections: Sequence[Sequence[Piece]]) -> list[Window]:
        windows: list[Window] = []
        self._counted("".join(piece.text for pieces in sections for piece in pieces))
        for pieces in sections[: -1 if len(sections) > 1 and not sections[-1] else None]:
            windows += self._filled(pieces)
        return windows

    def _filled(self, pieces: Sequence[Piece]) -> list[Window]:
        windows, comma = [Window()], -1
        for piece in pieces:
            ids, place = self._ids(piece.text), 0
            while place < len(ids):
                count = len(windows[-1].tokens)
                if ids[place] == self._comma:
                    comma = count
                elif count == self._room and comma >= 0 and count - comma <= _COMMA_WITHIN:
                    windows.append(windows[-1].cut(comma + 1))
                    comma = -1
                name, vectors = self._embedding(ids, place)
                tokens = [0] * len(vectors) if vectors is not None else [ids[place]]
                if len(windows[-1].tokens) + len(tokens) > self._room:
                    windows.append(Window())
                    comma = -1
                if vectors is not None:
                    windows[-1].vectors.append((len(windows[-1].tokens), vectors))
                windows[-1].add(tokens, piece.weight)
                place += name
        return windows

    def _embedding(self, ids: Sequence[int], place: int) -> tuple[int, torch.Tensor | None]:
        """How many tokens the longest name there has, and what stands for it; one token that stands for itself."""
        for name, vectors in self._embeddings:
            if tuple(ids[place : place + len(name)]) == name:
                return len(name), vectors
        return 1, None

    def _counted(self, text: str) -> list[int]:
        most = self._room * MAX_CHUNKS
        if (fewest := _fewest_tokens(self._tokenizer, text)) > most:
            raise ModelError(f"the prompt has at least {fewest} tokens; the maximum is {most}. Shorten it.")
        ids = self._ids(text)
        if len(ids) > most:
            raise ModelError(f"the prompt has {len(ids)} tokens; the maximum is {most}. Shorten it.")
        return ids

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _sections(text: str) -> list[list[Piece]]:
    try:
        return read_sections(text)
    except PromptError as exc:
        raise ModelError(f"the prompt: {exc}.") from exc


def _fewest_tokens(tokenizer: Any, text: str) -> int:
    """How many tokens a text has at least, known without cutting it up, for which all others' steps would wait.

    No token stands for more bytes than the longest has. CLIP's tokenizers read texts in NFC and lower case, and skip
    blanks; others may have tokens for unknown words of any length, and are not judged.
    """
    if not type(tokenizer).__name__.startswith("CLIPTokenizer"):
        return 0
    seen = "".join(unicodedata.normalize("NFC", text).lower().split())
    return -(-len(seen.encode("utf-8", "replace")) // _longest_token_bytes(tokenizer))


@lru_cache(maxsize=4)
def _longest_token_bytes(tokenizer: Any) -> int:
    return max(len(token.encode()) for token in tokenizer.get_vocab())

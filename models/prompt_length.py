"""Prompts that are too long for CLIP's text encoder, told at submission: a tokenizer's files are enough for that."""

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from models.card import ModelCard
from models.family_table import FAMILIES
from models.prompt_syntax import PromptError, read_sections
from models.request import MAX_TEXT

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHUNKS = 8
"""A prompt fills at most this many windows of the text encoder: 600 tokens for CLIP."""
_ROOM = 75
_COUNTED = 4 * MAX_CHUNKS * _ROOM
"""Tokens that are counted at most: counting those of 10,000 Chinese characters would keep a gateway busy for 12 ms."""
_PIECE = re.compile(r".{0,499} |.{1,500}", re.DOTALL)
_MARKS = ("<|startoftext|>", "<|endoftext|>")
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""How CLIP parts texts before it knows tokens (arXiv:2103.00020, its published tokenizer)."""


def length_rule(card: ModelCard, text: str) -> str:
    """Why a prompt is too long for a model, or "": nobody can tell where the tokenizer's files are not here.

    A token stands for one byte at least, so that of most prompts nothing has to be counted. Those that are no prompts
    by their number of characters are not counted either: that is told by its own rule.
    """
    most = MAX_CHUNKS * _ROOM
    may_be_long = len(text) <= MAX_TEXT and len(text.encode("utf-8", "replace")) > most
    if not may_be_long or not FAMILIES[card.family].is_unet:
        return ""
    folder = card.path / "tokenizer" if card.path else None
    if folder is None or not (folder / "merges.txt").is_file() or not (folder / "vocab.json").is_file():
        return ""
    words = _words(card, text).encode("utf-8", "replace").decode()
    count = _count(_tokenizer(folder), words)
    shown = f"{count:,}" if count < _COUNTED else f"over {_COUNTED:,}"
    return f"{shown} tokens are above the maximum of {most} of model '{card.name}'. Shorten it" if count > most else ""


def _count(tokenizer: "Tokenizer", text: str) -> int:
    """How many tokens a text has; of a text with more than `_COUNTED`, whoever sends it, no more is looked at."""
    count, pieces = 0, _PIECE.findall(text)
    for piece in pieces:
        count += _tokens(tokenizer, piece)
        if count >= _COUNTED:
            return _COUNTED
    are_whole = all(piece.endswith(" ") for piece in pieces[:-1])  # if not, a word has been cut in two
    return count if are_whole else _tokens(tokenizer, text)


def _tokens(tokenizer: "Tokenizer", text: str) -> int:
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def _words(card: ModelCard, text: str) -> str:
    """The text without the signs that weigh it."""
    if card.prompt_syntax == "plain":
        return text
    try:
        return "".join(piece.text for pieces in read_sections(text) for piece in pieces)
    except PromptError:  # told by its own rule
        return text


@cache
def _tokenizer(folder: Path) -> "Tokenizer":
    """CLIP's tokenizer, without what encoders need beside the number of tokens."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines if line) if second]
    merges = [pair for pair in merges if not pair[0].startswith("#version")]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([mark for mark in _MARKS if mark in vocab])
    return tokenizer

"""The built-in model's tokenizer: byte-level BPE in CLIP's file layout, merges learnt on segmented words.

Chinese has no spaces, so CLIP's pre-tokenizer hands a whole phrase to BPE as one word. Merges are therefore learnt on
the segmented words of the captions, once as the end of a phrase (``</w>``) and once as the middle of one, and whole
characters are merged before words, so that no merge ever spans a character boundary in the wrong place.
"""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from training.vocabulary import (
    BACKGROUND_WORDS,
    COLOUR_WORDS,
    EXTRA_WORDS,
    FILLERS,
    HELD_OUT_TEMPLATES,
    PRODUCT_WORDS,
    SHORT_TEMPLATES,
    SUFFIXES,
    TRAINING_TEMPLATES,
)

Symbols = tuple[str, ...]
MODEL_MAX_LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
CHINESE_TEMPLATE_WORDS = (
    *("背景", "背景上的", "背景是", "背景为", "底色", "照片", "的照片", "商品图", "产品"),
    *("一件", "一个", "一张", "放在", "是", "的", "上", "前"),
)


def byte_alphabet() -> dict[int, str]:
    """A printable character for each byte, in the order of GPT-2's and CLIP's byte-level BPE."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]
    return dict(zip(printable + others, characters, strict=True))


def caption_words() -> Counter[tuple[str, bool]]:
    """Every word the captions are made of, as (word, ends a phrase), with a weight."""
    words: Counter[tuple[str, bool]] = Counter()
    for table, weight in ((PRODUCT_WORDS, 40), (COLOUR_WORDS, 40), (BACKGROUND_WORDS, 40)):
        for entry in table.values():
            _count(words, entry["en"], entry["zh"], weight)
    for group in (FILLERS, SUFFIXES, EXTRA_WORDS):
        _count(words, group["en"], group["zh"], 6)
    english = " ".join(t for g in (TRAINING_TEMPLATES, SHORT_TEMPLATES, HELD_OUT_TEMPLATES) for t in g["en"])
    for letter in "cpbf":
        english = english.replace(f"{{{letter}}}", " ")
    _count(words, (english,), (), 4)
    _count(words, (), CHINESE_TEMPLATE_WORDS, 20)
    return words


def _count(words: Counter[tuple[str, bool]], english: tuple[str, ...], chinese: tuple[str, ...], weight: int) -> None:
    for phrase in english:
        for word in "".join(c if c.isalpha() else " " for c in phrase.lower()).split():
            words[word, True] += weight
    for phrase in chinese:
        word = "".join(c for c in phrase.lower() if c.isalpha())
        if word:
            words[word, True] += weight
            words[word, False] += weight


def learn_merges(words: Counter[tuple[str, bool]], limit: int) -> list[tuple[str, str]]:
    """Byte-pair merges in rank order: first whole non-ASCII characters, then the most frequent pairs."""
    alphabet = byte_alphabet()
    merges: list[tuple[str, str]] = []
    for character in sorted({c for word, _ in words for c in word if ord(c) > 127} | set("，。：！、")):
        symbols = [alphabet[b] for b in character.encode()]
        for ending in ("", WORD_END):
            tail = [*symbols[:-1], symbols[-1] + ending]
            left = tail[0]
            for right in tail[1:]:
                if (left, right) not in merges:
                    merges.append((left, right))
                left += right
    corpus = {split(word, ends, alphabet, merges): n for (word, ends), n in words.items()}
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols_of_word, n in corpus.items():
            for pair in pairwise(symbols_of_word):
                pairs[pair] += n
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        joined: Counter[Symbols] = Counter()
        for symbols_of_word, n in corpus.items():
            joined[merge(symbols_of_word, best)] += n
        corpus = dict(joined)
    return merges


def split(word: str, ends: bool, alphabet: dict[int, str], merges: list[tuple[str, str]]) -> Symbols:
    """The word's symbols after the given merges."""
    symbols = [alphabet[b] for b in word.encode()]
    symbols[-1] += WORD_END if ends else ""
    result = tuple(symbols)
    for pair in merges:
        result = merge(result, pair)
    return result


def merge(symbols: Symbols, pair: tuple[str, str]) -> Symbols:
    """Join each occurrence of the pair, from the left."""
    merged: list[str] = []
    position = 0
    while position < len(symbols):
        if symbols[position : position + 2] == pair:
            merged.append(pair[0] + pair[1])
            position += 2
        else:
            merged.append(symbols[position])
            position += 1
    return tuple(merged)


def write_tokenizer(folder: Path, merge_limit: int = 1200, words: Counter[tuple[str, bool]] | None = None) -> None:
    """Write ``vocab.json``, ``merges.txt`` and the configuration that ``CLIPTokenizer.from_pretrained`` reads.

    The merges are learnt on `words` (as `caption_words` counts them, the default).
    """
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(words or caption_words(), merge_limit)
    letters = list(byte_alphabet().values())
    endings = [letter + WORD_END for letter in letters]
    tokens = [*letters, *endings, *dict.fromkeys(a + b for a, b in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    configuration = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": MODEL_MAX_LENGTH,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    specials = {name: configuration[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n")

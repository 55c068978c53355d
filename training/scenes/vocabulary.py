"""The words that captions are made of, for the tokenizer."""

from collections import Counter
from collections.abc import Iterable

from training.scenes import words

CHINESE_JOINTS = (
    *("背景", "背景是", "背景为", "放在", "一个", "一件", "的", "是", "上"),
    *("底", "底色", "背景布", "纯色", "为", "以", "在", "前", "一张照片"),
)


def caption_words() -> Counter[tuple[str, bool]]:
    """Every word the captions are made of, as (word, ends a phrase), with a weight."""
    counted: Counter[tuple[str, bool]] = Counter()
    for table in (words.PRODUCTS, words.COLOURS, words.PALE, words.SURROUNDINGS):
        for entry in table.values():
            _count(counted, entry["en"], entry["zh"], 40)
    phrases = (
        words.LIFESTYLE, words.WHITE_PHRASES, words.SHADOWLESS, words.SHADOWED, words.CLOSE, words.OPENINGS,
        words.ADJECTIVES, words.EXTRAS, words.NOISE,
    )  # fmt: skip
    for group in phrases:
        _count(counted, group["en"], group["zh"], 8)
    _count(counted, (text.replace("{b}", " ") for text in words.BACKGROUND_PHRASES["en"]), CHINESE_JOINTS, 20)
    _count(counted, ("a an the one in is are coloured colored of and with for by from",), (), 20)
    return counted


def _count(counted: Counter[tuple[str, bool]], english: Iterable[str], chinese: Iterable[str], weight: int) -> None:
    for phrase in english:
        for word in "".join(c if c.isalpha() else " " for c in phrase.lower()).split():
            counted[word, True] += weight
    for phrase in chinese:
        for word in "".join(c.lower() if c.isalpha() else " " for c in phrase).split():
            counted[word, True] += weight
            counted[word, False] += weight

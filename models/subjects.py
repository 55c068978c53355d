"""What a model of few subjects has to say to a prompt that names none of them."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from models.card import ModelCard
from models.errors import ModelNotFoundError
from models.registry import ModelRegistry

_HAN = re.compile(r"[\u3400-\u9fff]")
_GAPS = re.compile(r"[\s\-]+")


def subject_hint(request: Mapping[str, object], registry: ModelRegistry) -> str | None:
    """A line for who asked for what the model cannot paint, in the prompt's language; None where it may.

    Args:
        request: as the fields of a GenerationRequest. One with an input picture need not name what is in that.
    """
    text = str(request.get("text", ""))
    try:
        card = registry.card(str(request.get("model_type")))
    except ModelNotFoundError:
        return None
    if request.get("image_url") or not card.subjects or named_subjects(text, card.subjects):
        return None
    return _hint(card, in_chinese=bool(_HAN.search(text)))


def named_subjects(text: str, subjects: Mapping[str, Sequence[str]]) -> set[str]:
    """The subjects whose name is in the text: words as such or in the plural, Chinese ones anywhere."""
    plain, named = _plain(text), _named(tuple((name, *others) for name, others in subjects.items()))
    return {subject for subject, name, is_word in named if name in plain and (not is_word or _as_word(name, plain))}


@lru_cache
def _named(subjects: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, str, bool], ...]:
    """(subject, one of its names, whether that stands between other words): those that a text has are looked for."""
    plain = ((names[0], _plain(name)) for names in subjects for name in names)
    return tuple((subject, name, not _HAN.search(name)) for subject, name in plain)


def _as_word(name: str, text: str) -> bool:
    return bool(re.search(rf"(?<![a-z]){re.escape(name)}(?:e?s)?(?![a-z])", text))


def _plain(text: str) -> str:
    return _GAPS.sub(" ", text.casefold())


def _hint(card: ModelCard, *, in_chinese: bool) -> str:
    if in_chinese:
        names = (next(filter(_HAN.search, others), plain) for plain, others in card.subjects.items())
        return f"模型“{card.name}”只会画：{'、'.join(names)}。提示词里没有这些，画面多半会是其中之一。"
    return (
        f"Model '{card.name}' paints nothing but: {', '.join(card.subjects)}. "
        "The prompt names none of these, so the picture will most likely show one of them."
    )

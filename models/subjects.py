"""What a model of few subjects has to say to a prompt that names none of them."""

import re
from collections.abc import Iterable, Mapping
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


def named_subjects(text: str, subjects: Mapping[str, Iterable[str]]) -> set[str]:
    """The subjects whose name is in the text: words as such or in the plural, Chinese ones anywhere."""
    plain = _plain(text)
    return {name for name, others in subjects.items() if _pattern((name, *others)).search(plain)}


@lru_cache
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    plain = sorted({re.escape(_plain(name)) for name in names})
    words = (rf"(?<![a-z]){name}(?:e?s)?(?![a-z])" for name in plain if not _HAN.search(name))
    return re.compile("|".join((*words, *filter(_HAN.search, plain))))


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

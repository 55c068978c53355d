"""Whether a picture of the built-in model shows the product that its prompt names."""

from collections.abc import Mapping, Sequence
from functools import cache

from configs.settings import PACKAGE_ROOT, load_settings
from models.registry import BUILTIN_CARDS, open_registry
from models.subjects import named_subjects
from ops.scores.quoted_words import quoted_words
from ops.scores.seen import Seen


def adherence(seen: Seen) -> float | None:
    """How sure the judge that was trained with the model is to see that product.

    None for prompts that name none, or quote words: the judge has never seen anything with words on it.
    """
    subjects = _subjects(seen.model)
    if quoted_words(seen.text) or not (named := named_subjects(seen.text, subjects)):
        return None
    from models.judge import load_judge, product_shares

    shares = product_shares(load_judge(PACKAGE_ROOT / "models/builtin/judge.safetensors"), seen.pixels)
    return float(sum(share for name, share in zip(subjects, shares, strict=True) if name in named))


@cache
def _subjects(model: str) -> Mapping[str, Sequence[str]]:
    """The products of a model that comes along, in the order in which the judge knows them; none of others."""
    registry = open_registry(load_settings())
    card = registry.card(model) if model in registry.names else None
    return card.subjects if card and card.folder == BUILTIN_CARDS else {}

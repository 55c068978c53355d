"""The scores of a catalog's pictures, in the store."""

from collections.abc import Mapping

from resources.object_store import ObjectStore
from resources.stored_json import get_json

FOLDER = "scores/"

Scores = Mapping[str, float]
"""By scorer, 0 to 1."""
Kept = Mapping[str, float | None]
"""By scorer; None where it could not tell."""


def scores_key(catalog: str) -> str:
    """Object key of a catalog's scores."""
    return f"{FOLDER}{catalog}.json"


def kept_scores(store: ObjectStore, catalog: str) -> dict[str, Kept]:
    """The scores of a catalog's pictures, by recipe and scorer."""
    return get_json(store, scores_key(catalog)) or {}


def told(kept: Mapping[str, Kept]) -> dict[str, Scores]:
    """Those that say something."""
    return {
        recipe: {name: score for name, score in scores.items() if score is not None} for recipe, scores in kept.items()
    }

"""The scores of a catalog's pictures, in the store."""

import json
from collections.abc import Mapping

from resources.object_store import ObjectNotFoundError, ObjectStore

FOLDER = "scores/"

Scores = Mapping[str, float]
"""By scorer, 0 to 1."""


def scores_key(catalog: str) -> str:
    """Object key of a catalog's scores."""
    return f"{FOLDER}{catalog}.json"


def scores_of(store: ObjectStore, catalog: str) -> dict[str, Scores]:
    """The scores of a catalog's pictures, by recipe and scorer."""
    try:
        found: dict[str, Scores] = json.loads(store.get(scores_key(catalog)))
    except ObjectNotFoundError:
        return {}
    return found

"""Records of marked pictures, found again by what their invisible mark holds."""

import json
import time
from collections.abc import Iterator
from itertools import islice

from pydantic import Field

from foundation.value_object import ValueObject
from models.recipe import Recipe
from models.statement import mark_step, statement_of
from resources.object_store import ObjectNotFoundError, ObjectStore

RECORDS = "marks/"
_MOST = 20
"""Records that are read of one identifier: the same recipe made for so many."""


class MarkRecord(ValueObject):
    """What is known of a picture that was marked: it outlives the picture, unless it is deleted with it."""

    identifier: str = Field(pattern="^[0-9a-f]{12}$")
    produce_id: str
    key: str = Field(description="object key of the picture; '' for one that was never in the store")
    owner: str = Field(default="", description="the user who asked for it; '' for a catalog's")
    made_at_s: float = Field(default_factory=time.time, description="Unix time")
    recipe: str = Field(default="", description="JSON; '' for a sheet of pictures")


def keep_record(store: ObjectStore, record: MarkRecord, name: str) -> None:
    """Keep it; `name` tells it from others of the same identifier."""
    store.put(_key(record.identifier, name), record.model_dump_json().encode(), content_type="application/json")


def record_of(recipe: Recipe, name: str) -> str:
    """The object key of a picture's record; "" if it has no invisible mark."""
    step = mark_step(recipe)
    is_hidden = step is not None and step.params["policy"] == "full"
    return _key(statement_of(recipe, step).identifier.hex(), name) if step and is_hidden else ""


def find_records(store: ObjectStore, identifier: str) -> Iterator[MarkRecord]:
    """The records of an identifier, hex; of recipes that many had made, the first few."""
    for found in islice(store.list(f"{RECORDS}{identifier[:2]}/{identifier}/"), _MOST):
        try:
            yield MarkRecord.model_validate(json.loads(store.get(found.key)))
        except ObjectNotFoundError:
            continue


def _key(identifier: str, name: str) -> str:
    return f"{RECORDS}{identifier[:2]}/{identifier}/{name}.json"

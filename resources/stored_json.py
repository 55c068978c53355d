"""Small records in the object store, as JSON."""

import json
from typing import Any

from resources.object_store import ObjectNotFoundError, ObjectStore


def put_json(store: ObjectStore, key: str, value: object) -> None:
    """Store a value of what JSON knows."""
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    store.put(key, data, content_type="application/json")


def get_json(store: ObjectStore, key: str) -> Any:
    """The value that `put_json` stored; None if there is none."""
    try:
        return json.loads(store.get(key))
    except ObjectNotFoundError:
        return None

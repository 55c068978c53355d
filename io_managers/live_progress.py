"""How far the run is that makes a catalog now, in the store, for who looks at the catalog meanwhile."""

import json
import time
from collections.abc import Mapping

from resources.object_store import ObjectNotFoundError, ObjectStore

PROGRESS = "progress/"
RUNNING_FOR_S = 60.0
"""What is older was left by a run that was killed."""


def publish_progress(store: ObjectStore, catalog: str, asset: str, counts: Mapping[str, int] | None) -> None:
    """Say how many rows of an asset have which status, of how many in all (`total`); None: no run goes on."""
    if counts is None:
        store.delete(_key(catalog))
    else:
        told = json.dumps({"asset": asset, "at_s": time.time(), **counts}).encode()
        store.put(_key(catalog), told, content_type="application/json")


def live_progress(store: ObjectStore, catalog: str) -> Mapping[str, object] | None:
    """What the run said that goes on; None if there is none, or none that has gone on for long enough to say it."""
    try:
        told: dict[str, object] = json.loads(store.get(_key(catalog)))
    except ObjectNotFoundError:
        return None
    return told if float(str(told["at_s"])) > time.time() - RUNNING_FOR_S else None


def _key(catalog: str) -> str:
    return f"{PROGRESS}{catalog}.json"

"""How far the run is that makes a catalog now, in the store, for who looks at the catalog meanwhile."""

import time
from collections.abc import Mapping

from resources.object_store import ObjectStore
from resources.stored_json import get_json, put_json

PROGRESS = "progress/"
RUNNING_FOR_S = 60.0
"""What is older was left by a run that was killed."""


def publish_progress(store: ObjectStore, catalog: str, asset: str, counts: Mapping[str, int] | None) -> None:
    """Say how many rows of an asset have which status, of how many in all (`total`); None: no run goes on."""
    if counts is None:
        store.delete(_key(catalog))
    else:
        put_json(store, _key(catalog), {"asset": asset, "at_s": time.time(), **counts})


def live_progress(store: ObjectStore, catalog: str) -> Mapping[str, object] | None:
    """What the run said that goes on; None if there is none, or none that has gone on for long enough to say it."""
    told: dict[str, object] | None = get_json(store, _key(catalog))
    return told if told and float(str(told["at_s"])) > time.time() - RUNNING_FOR_S else None


def _key(catalog: str) -> str:
    return f"{PROGRESS}{catalog}.json"
